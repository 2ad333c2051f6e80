"""Entry point `baseline`: the dummy and the plain linear model on the split and folds that all steps share."""

from lifecycle.adapters import cli


@cli.command("baseline")
def main(options: cli.Options) -> None:
    """Fit and score the plain linear model beside the best constant."""
    from lifecycle.adapters import finals, steps

    with steps.opened("baseline", options) as step:
        if not step.begin(steps.training_settings(options, step.contract)):
            finals.log_plain(step, lambda model: model.fit(step.table.rows, step.table.labels.to_numpy()))


if __name__ == "__main__":
    main()

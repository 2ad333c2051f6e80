"""Entry point `tune_lr`: hyperopt over logistic regression."""

from lifecycle.adapters import cli


@cli.command("tune_lr")
def main(options: cli.Options) -> None:
    """Search over logistic regression: C, solver, class_weight."""
    from lifecycle.adapters import searches, steps

    searches.check(options)
    searches.start_workers(options)
    with steps.opened("tune_lr", options) as step:
        searches.run(step)


if __name__ == "__main__":
    main()

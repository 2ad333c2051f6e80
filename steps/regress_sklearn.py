"""Entry point `regress_sklearn`: linear regression in scikit-learn, its coefficients tracked."""

from lifecycle.adapters import cli


@cli.command("regress_sklearn")
def main(options: cli.Options) -> None:
    """Fit a linear regression under mlflow's autologging, and log its model and coefficients ourselves."""
    from lifecycle.adapters import finals, flavors, steps

    with steps.opened("regress_sklearn", options) as step:
        if not step.begin(steps.training_settings(options, step.contract)):
            finals.log_plain(step, lambda model: flavors.fit_autologged(model, step.table))


if __name__ == "__main__":
    main()

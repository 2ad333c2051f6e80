"""Entry point `regress_statsmodels`: the same regression by ordinary least squares, with the inference."""

from lifecycle.adapters import cli


@cli.command("regress_statsmodels")
def main(options: cli.Options) -> None:
    """Fit ordinary least squares in statsmodels: summary, intervals of the coefficients, diagnostics."""
    from lifecycle.adapters import inference, steps

    with steps.opened("regress_statsmodels", options) as step:
        if not step.begin(steps.training_settings(options, step.contract)):
            inference.log_least_squares(step)


if __name__ == "__main__":
    main()

"""Entry point `tune_mllib`: a search over Spark's MLlib, in which the rows stay in Spark from reading to model."""

from lifecycle.adapters import cli


@cli.command("tune_mllib")
def main(options: cli.Options) -> None:
    """Search over estimators of Spark's MLlib, or sweep a decision tree's bins and depth."""
    from lifecycle.adapters import mllib

    mllib.run(options)


if __name__ == "__main__":
    main()

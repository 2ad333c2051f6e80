"""Entry point `tune_multi`: hyperopt over a conditional space of several estimators."""

from lifecycle.adapters import cli


@cli.command("tune_multi")
def main(options: cli.Options) -> None:
    """Search over several kinds of estimators, each with its own ranges."""
    from lifecycle.adapters import searches, steps

    searches.check(options)
    searches.start_workers(options)
    with steps.opened("tune_multi", options) as step:
        searches.run(step)


if __name__ == "__main__":
    main()

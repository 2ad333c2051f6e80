"""Entry point `prepare`: raw table -> contract, split, folds, train and test rows, profile."""

from lifecycle.adapters import catalog, cli, readers, steps, tracking
from lifecycle.errors import listed
from lifecycle.table import prepare, profile


@cli.command("prepare")
def main(options: cli.Options) -> None:
    """Read a table, write its contract, split it and assign the folds."""
    identity = steps.identify(options)
    tracking.connect()
    run = tracking.start("prepare")
    run.log(tags=steps.identity_tags("prepare", identity))
    settings = identity.settings
    raw = readers.read_table(identity.sources[0], settings.query)
    raw_test = readers.read_table(identity.sources[1], settings.query) if settings.test_data else None
    train, test, contract = prepare(raw, settings, raw_test)
    name = catalog.short_name(settings.data)
    tracking.log_dataset(run, raw, identity.sources[0].origin, name, settings.target, identity.data_digest)
    run.settings(steps.settings_of("prepare", identity, contract, {}, run.run_id))
    run.frame("prepared/train.parquet", train)
    run.frame("prepared/test.parquet", test)
    run.frame("prepared/profile.csv", profile(train, test, contract))
    # Last, because whoever looks for a prepared table looks for the contract.
    run.text("prepared/contract.json", contract.to_json())
    left_out = listed(f"{column.name} ({column.role})" for column in contract.left_out)
    run.log(
        metrics={"train_rows": len(train), "test_rows": len(test), "features": len(contract.features)},
        tags={"lifecycle.key": identity.key, "lifecycle.left_out": left_out},
    )
    about = f"positive class {contract.positive!r}" if contract.positive is not None else f"target {contract.target!r}"
    print(
        f"prepare: {contract.task}, {about}, {len(train)} training and {len(test)} test rows ({contract.split}), "
        f"{len(contract.features)} features, left out: {left_out}."
    )
    if contract.rows_without_target:
        print(f"prepare: {contract.rows_without_target} rows without a target were left out.")
    run.end("FINISHED")


if __name__ == "__main__":
    main()

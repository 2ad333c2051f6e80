"""Entry point `prepare`: raw table -> contract, split, folds, train and test rows, profile."""

from lifecycle.adapters import cli


@cli.command("prepare")
def main(options: cli.Options) -> None:
    """Read a table, write its contract, split it and assign the folds."""
    import tempfile
    from pathlib import Path

    from lifecycle import checks
    from lifecycle.adapters import preparation, steps, tracking
    from lifecycle.audit import as_frame, said
    from lifecycle.errors import UserError, listed
    from lifecycle.table import profile

    identity = steps.identify(options)
    tracking.connect()
    run = tracking.start("prepare")
    run.log(tags=steps.identity_tags("prepare", identity))
    settings = identity.settings
    with tempfile.TemporaryDirectory() as folder, preparation.workplace(Path(folder)) as connection:
        tables = preparation.opened(connection, identity.sources, settings, Path(folder))
        made = preparation.make(tables[0], settings, tables[1] if settings.test_data else None, Path(folder))
        contract, rows, held = made.prepared.contract, len(made.prepared.train), len(made.prepared.test)
        tracking.log_dataset(
            run, tables[0].types, len(tables[0]), identity.sources[0].origin, settings.data, identity.data_digest
        )
        run.settings(steps.settings_of("prepare", identity, contract, {}, run.run_id))
        run.frame("prepared/findings.csv", as_frame(made.findings))
        run.frame("prepared/breaches.csv", checks.as_frame(made.prepared.breaches))
        if settings.strict and made.findings:
            raise UserError(f"strict: there are findings ({said(made.findings)}); {made.findings[0].message}")
        run.files("prepared", made.train, made.test)
        run.frame("prepared/profile.csv", profile(made.prepared, made.train_sample))
        run.text("prepared/profile.html", preparation.page_of(made, settings, identity.data_digest))
        # Last, because whoever looks for a prepared table looks for the contract.
        run.text("prepared/contract.json", contract.to_json())
    left_out = listed(f"{column.name} ({column.role})" for column in contract.left_out)
    run.log(
        metrics={"train_rows": rows, "test_rows": held, "features": len(contract.features)},
        tags={"lifecycle.key": identity.key, "lifecycle.left_out": left_out, "lifecycle.findings": said(made.findings)},
    )
    about = f"positive class {contract.positive!r}" if contract.positive is not None else f"target {contract.target!r}"
    print(
        f"prepare: {contract.task}, {about}, {rows} training and {held} test rows ({contract.split}), "
        f"{len(contract.features)} features, left out: {left_out}."
    )
    if contract.rows_without_target:
        print(f"prepare: {contract.rows_without_target} rows without a target were left out.")
    for sentence in checks.told(made.prepared.breaches):
        print(f"prepare: {sentence}")
    for finding in made.findings:
        print(f"prepare: finding {finding.code}: {finding.message}")
    run.end("FINISHED")


if __name__ == "__main__":
    main()

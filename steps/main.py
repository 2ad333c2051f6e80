"""Entry point `main`: the whole lifecycle of one or more tables, through mlflow.run."""

import time

from lifecycle.adapters import catalog, cli, code, sources, steps, tracking
from lifecycle.errors import UserError


@cli.command("main")
def main(options: cli.Options) -> None:
    """Prepare, fit, search and register all that fits each table's task."""
    from lifecycle.adapters import chain, report

    began = time.monotonic()
    tables = catalog.split_tables(options["data"])
    chain.check(tables, options)
    tracking.connect()
    run = tracking.start("main")
    run.log(tags={"lifecycle.step": "main"})
    resolved = {table: steps.identify(options | {"data": table}).settings.resolved() for table in tables}
    run.settings(
        {"step": "main", "options": sources.logged(options), "tables": resolved, "code_sha256": code.code_digest()}
    )
    outcomes = chain.Chain(run, options).run(tables)
    report.tell(run, outcomes, time.monotonic() - began)
    for refused in filter(None, (outcome.refusal for outcome in outcomes)):
        raise UserError(refused)
    run.end("FINISHED")


if __name__ == "__main__":
    main()

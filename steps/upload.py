"""Entry point `upload`: send the tracking store what it missed while it was away."""

from pathlib import Path

from lifecycle.adapters import cli, patience, tracking
from lifecycle.errors import UserError


@cli.command("upload")
def main(options: cli.Options) -> None:
    """Send the records that a run has kept in a file; a second time changes nothing."""
    if not options["file"]:
        raise UserError("file: there is nothing to send; give the file that the broken run has named.")
    path = Path(options["file"])
    writes = list(patience.kept(path))
    tracking.connect()
    tracking.send_kept(writes, path)
    print(
        f"{len(writes)} records of {len({write['run_id'] for write in writes})} runs are in the store; {path} may go."
    )


if __name__ == "__main__":
    main()

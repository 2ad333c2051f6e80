"""Entry point `clean`: put a search away with all that hangs on it, or take it back; list what has been."""

from lifecycle.adapters import cli, hygiene, tracking
from lifecycle.errors import UserError


@cli.command("clean")
def main(options: cli.Options) -> None:
    """Delete or restore a run with its descendants and models; without confirm it only says what would be done."""
    confirm, restore = options["confirm"], options["restore"]
    if restore and not options["run_id"]:
        raise UserError("run_id: restore needs the run to take back; -e clean without any parameter lists them.")
    tracking.connect()
    if options["run_id"]:
        (take_back if restore else put_away)(hygiene.family(options["run_id"]), confirm)
    else:
        overview(confirm)


def put_away(found: hygiene.Family, confirm: bool) -> None:
    """Put a family away, or say what would go."""
    root = found.root.info.run_id
    if found.root.info.lifecycle_stage != "active":
        raise UserError(f"run_id: run {root} is deleted already; -P restore=true takes it back.")
    hygiene.check(found)
    print("\n".join(hygiene.described(found, found.active)))
    if not confirm:
        print(f"Nothing has been deleted; -P run_id={root} -P confirm=true deletes all of it.")
        return
    hygiene.put_away(found)
    print(f"Deleted; -P run_id={root} -P restore=true -P confirm=true takes all of it back until `mlflow gc` is run.")


def take_back(found: hygiene.Family, confirm: bool) -> None:
    """Take a family back, or say what would come."""
    if not confirm:
        deleted = [run for run in found.runs if run.info.lifecycle_stage != "active"]
        print("\n".join(hygiene.described(found, deleted)))
        print("Nothing has been restored; add -P confirm=true.")
        return
    print(f"Restored {hygiene.take_back(found)} runs; logged models: {len(found.models)}.")


def overview(confirm: bool) -> None:
    """List what has been put away; delete for good the models whose runs have been purged."""
    away, behind = hygiene.away(), hygiene.left_behind()
    print("\n".join(hygiene.purge_note(run) for run in away) or "Nothing is put away.")
    if away:
        print("Nothing is purged by itself: it stays, files and all, until somebody runs that command.")
    if behind:
        print(f"{len(behind)} models of runs that have been purged: {', '.join(one.model_id for one in behind)}")
        if confirm:
            hygiene.delete_models(behind)
        print("Deleted; the next `mlflow gc` purges their files." if confirm else "-P confirm=true deletes them.")


if __name__ == "__main__":
    main()

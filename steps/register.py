"""Entry point `register`: the best accepted candidate -> a version, its stage, its alias."""

from lifecycle.adapters import cli


@cli.command("register")
def main(options: cli.Options) -> None:
    """Register the best candidate of a table, if it beats the dummy on the test rows."""
    from lifecycle.adapters import candidates, catalog, registry, steps
    from lifecycle.metrics import resolve_metric
    from lifecycle.selection import judge

    registry.check_name(options["name"], [options["data"]])
    with steps.opened("register", options, candidates.searched_in_spark(options)) as step:
        metric = resolve_metric(options["metric"], step.contract)
        name = options["name"] or catalog.model_name(options["data"])
        chosen = candidates.chosen(step, metric, options)
        own = candidates.own_settings(options, metric, name, chosen.run_id)
        if step.begin(own, candidates.still_champion):
            return
        verdict = judge(chosen, metric)
        tags = candidates.version_tags(step, chosen, metric)
        version = registry.promote(chosen.run_id, name, tags, f"{chosen.model} of {chosen.step}: {verdict}")
        scores = {key: value for key, value in chosen.scores.items() if key.endswith(f"_{metric.name}")}
        step.run.log(
            metrics=scores | {"version": float(version.number)},
            tags={
                "lifecycle.registered": f"{name}/{version.number}",
                "lifecycle.champion_run": chosen.run_id,
                "lifecycle.verdict": verdict,
            },
        )
        what = "registered as" if version.created else "had been registered as"
        now = "and Production" if version.has_stages else "(Unity Catalog has no stages)"
        print(
            f"register: {chosen.model} of {chosen.step} {what} models:/{name}/{version.number}, now @champion {now}"
            f"{f' instead of version {version.former}' if version.former else ''}: {verdict}"
        )


if __name__ == "__main__":
    main()

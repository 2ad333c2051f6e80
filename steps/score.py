"""Entry point `score`: a registered model applied to a table, its rows written with what it predicts."""

from lifecycle.adapters import cli


@cli.command("score")
def main(options: cli.Options) -> None:
    """Apply a registered model to a table, and write its rows with a column `prediction`."""
    import tempfile
    from pathlib import Path

    from lifecycle.adapters import scorer, scoring, tracking

    asked = scoring.asked_for(options)
    tracking.connect()
    run = tracking.start("score")
    run.log(tags={"lifecycle.step": "score"})
    with tempfile.TemporaryDirectory(prefix="lifecycle-") as name:
        folder = Path(name)
        model = scorer.fetched(asked.model, folder)
        with scoring.opened(asked, model, folder) as rows:
            scoring.tracked(run, asked, model, rows)
            for sentence in [*rows.notes, *scoring.judged(run, rows, model)]:
                print(f"score: {sentence}")
            clock = scoring.Clock(len(rows))
            written = rows.score(model, folder)
            metrics = clock.metrics()
            run.log(metrics=metrics)
            if written:
                run.files("", written)
    place = "predictions.parquet of the run" if asked.output is None else asked.output.asked
    print(
        f"score: {int(metrics['rows']):,} rows by {model.uri} in {metrics['seconds']:.1f} s "
        f"({metrics['rows_per_second']:,.0f} a second), written to {place}."
    )
    run.end("FINISHED")


if __name__ == "__main__":
    main()

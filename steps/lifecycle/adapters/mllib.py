"""A search over Spark's MLlib: rows stay in Spark from reading to model; figures and trees alone come here."""

import json
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict
from os import environ, sysconf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lifecycle import adaptive, checks, figures, mllib, sparksql
from lifecycle.adapters import (
    catalog,
    finals,
    flavors,
    local,
    searches,
    sources,
    spark,
    spark_reading,
    spark_table,
    steps,
    tracking,
)
from lifecycle.adapters.cli import Options
from lifecycle.adapters.code import pinned
from lifecycle.adapters.memory import Heartbeat
from lifecycle.adapters.spark_rows import AT_ONCE, SparkRows
from lifecycle.adapters.spark_table import FOLD, PLACE, SparkPrepared
from lifecycle.adapters.steps import Identity, Step
from lifecycle.audit import as_frame, said
from lifecycle.columns import level_of
from lifecycle.contract import CATEGORICAL, TEXT, Contract
from lifecycle.errors import UserError, listed
from lifecycle.metrics import (
    METRIC_NAMES,
    Metric,
    dummy_of_counts,
    metrics_for,
    over_folds,
    prefixed,
    resolve_metric,
    score_confusion,
)
from lifecycle.mllib import CLASS_WEIGHT, MLLIB, MLLIB_NAMES
from lifecycle.search import LAG, Suggester, best_record
from lifecycle.settings import TWIN_COLUMN, SearchSettings, one_of, parse_names
from lifecycle.spaces import Values
from lifecycle.table import profile_of
from lifecycle.trials import FAILED, Task, TrialRecord

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.sql import DataFrame, SparkSession

STEP = steps.SPARK_STEP
TRIALS = 16
# The level of missing cells: no level is blank, and Spark takes no empty one.
ABSENT = " "
FEATURES, GUESS, WEIGHT = "__features__", "__guess__", "__weight__"
# Buckets that the words of a column of text are counted in.
BUCKETS = 256
# Rows of a task: fewer take longer to hand out than to fit.
ROWS_OF_A_TASK = 50_000
# For queries over few rows, which take longer to compile, and to plan anew in mid-run, than to run.
OVER_FEW_ROWS = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
}
AS_TYPED = ("algo", "select_on", "timeout", "log_models", "patience", "resume")
PACKAGES = ["mlflow", "pyspark", "pandas", "numpy"]
# What executors' pythons import where rows are split by a column; nothing else of a search runs in them.
SPLITTING = ["numpy", "pandas", "pyarrow", "sklearn"]
WITHOUT_SPARK = "use tune_multi, which needs none"


def check(options: Options) -> None:
    """Refuse options that no table could make right, before anything is started.

    Raises
    ------
    UserError
        For the first option that cannot be right, and where there is no Java.
    """
    for name in parse_names(options["models"]):
        one_of("models", name, MLLIB_NAMES)
    if options["metric"]:
        one_of("metric", options["metric"], METRIC_NAMES)
    if options["sweep"] and options["algo"] != "tpe":
        raise UserError(
            f"algo: {options['algo']!r} has no say in the sweep, which tries all its points; give sweep=false for a "
            "search."
        )
    if options["algo"] == "atpe":
        adaptive.check_installed()
    spark_table.checked_split(options["split"])
    spark_table.check_places(options)
    if options["max_evals"] < 0:
        raise UserError(
            f"max_evals: {options['max_evals']} trials cannot find anything; give 1 or more, or 0 for the default."
        )
    _settings(options, (), "")
    if spark.active_session() is None:
        spark.check_java("data", WITHOUT_SPARK)


def _settings(options: Options, models: Sequence[str], metric: str) -> SearchSettings:
    points = len(mllib.sweep()[1])
    asked = options["max_evals"] or (points if options["sweep"] else TRIALS)
    return SearchSettings(
        models=tuple(models),
        metric=metric,
        max_evals=min(asked, points) if options["sweep"] else asked,
        engine="spark",
        parallelism=options["parallelism"] or local.cores(),
        seed=options["seed"],
        **{name: options[name] for name in AS_TYPED},
    )


def settings_for(options: Options, contract: Contract) -> SearchSettings:
    """Resolve a search's settings for one table.

    Raises
    ------
    UserError
        For a metric or a model that the table does not have, or a sweep where there are no classes.
    """
    asked = parse_names(options["models"])
    if options["sweep"]:
        mllib.check_sweep(asked, contract)
        asked = (mllib.SWEPT,)
    models = mllib.choose(asked, contract)
    return _settings(options, models, resolve_metric(options["metric"], contract).name)


@contextmanager
def session_for(parallelism: int, packages: Sequence[str] = ()) -> "Iterator[SparkSession]":
    """Give the active session, or one of our own that ends with the block, when somebody is at work in it.

    As long as the block lasts, its times are told in UTC. Executors know the package `lifecycle`.

    Parameters
    ----------
    parallelism : int
        Trials at once; 0 for one a core of this machine.
    packages : sequence of str
        What executors' pythons must have, as it is imported; none where they are not used.

    Raises
    ------
    UserError
        Where Spark cannot be started, starts no executor or one whose python lacks packages, and where it loses as many
        as it tries a task on.
    """
    active = spark.active_session()
    words = ("data", WITHOUT_SPARK)
    if active is None and environ.get("MASTER"):
        words = ("MASTER", "unset it, and Spark runs on this machine")
    session = active or _own_session(parallelism, *words)
    context = session.sparkContext
    try:
        # For cores that do not come Spark would wait without a word and without an end.
        spark.first_job(context, f"lifecycle-begin-{time.time_ns()}", session.range(1).collect, *words).result()
        if packages:
            spark.check_pythons(context, packages, "split_column")
        spark.ship(context)
        with spark.configured(session, {"spark.sql.session.timeZone": "UTC"}):
            yield session
    except Exception as error:
        if "ExecutorLostFailure" not in str(error):
            raise
        raise UserError(
            f"{words[0]}: {spark.said(error, 'step')}, and so were those that Spark tried after it; give executors "
            "more memory by spark.executor.memory."
        ) from error
    finally:
        if active is None:
            session.stop()


def _own_session(parallelism: int, option: str, instead: str) -> "SparkSession":
    """Start a session that tries tasks again, on all the cores that a cluster gives, else on those of this machine."""
    cores, more = 0, own_settings()
    if not environ.get("MASTER"):
        cores = max(parallelism, local.cores())
        # Of a cluster, whose cores are not known before they come, it is left to Spark.
        more["spark.sql.shuffle.partitions"] = str(2 * cores)
    return spark.own_session(cores, spark.ATTEMPTS, more, option, instead)


def own_settings() -> dict[str, str]:
    """Return the settings of a session of our own, with a third of the machine's memory."""
    gigabytes = sysconf("SC_PAGE_SIZE") * sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "spark.driver.memory": f"{max(int(gigabytes / 3), 1)}g",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        spark_reading.NANOSECONDS: "true",
        "spark.sql.ui.retainedExecutions": "1",
    }


def _session_of(options: Options) -> "AbstractContextManager[SparkSession]":
    return session_for(options["parallelism"], SPLITTING if options["split_column"] else ())


def run(options: Options) -> None:
    """Prepare a table in Spark, search over MLlib's estimators, refit the winner and score it once on the test rows.

    Parameters
    ----------
    options : dict
        As typed.

    Raises
    ------
    UserError
        For a mistake in the options or the table, and where no trial finished.
    """
    check(options)
    if sources.is_cataloged(options["data"]):
        with _session_of(options) as session:
            _track(options, spark_table.identify(options, session), session)
    else:
        _track(options, spark_table.identify(options), None)


def _track(options: Options, identity: Identity, session: "SparkSession | None") -> None:
    tracking.connect()
    own_run = tracking.start(STEP)
    own_run.log(tags=steps.identity_tags(STEP, identity))
    with Heartbeat(own_run):
        known = known_contract(identity, own_run.experiment_id)
        if known is not None:
            # What has been done before is taken over without Spark, and what cannot be done is told as soon.
            step = Step(STEP, options, identity, own_run, own_run.run_id, known)
            if step.begin(_own(options, settings_for(options, known))):
                own_run.end("FINISHED")
                return
        if session is not None:
            _searched(options, identity, own_run, session)
        else:
            with _session_of(options) as started:
                _searched(options, identity, own_run, started)
    own_run.end("FINISHED")


def known_contract(identity: Identity, experiment_id: str) -> Contract | None:
    """Return the contract of a table that has been prepared in Spark before, or None."""
    for found in tracking.runs_with({"lifecycle.step": STEP, "lifecycle.table": identity.key}, experiment_id):
        with suppress(LookupError):
            return steps.read_contract(found.info.run_id)
    return None


def _own(options: Options, settings: SearchSettings) -> dict[str, Any]:
    return asdict(settings) | {"sweep": bool(options["sweep"])}


def _searched(options: Options, identity: Identity, own_run: tracking.StepRun, session: "SparkSession") -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = session.conf.get("spark.app.name") == spark.APP
        prepared = spark_table.prepare(session, identity, folder)
        try:
            step = Step(STEP, options, identity, own_run, own_run.run_id, prepared.contract)
            _log_prepared(step, prepared)
            settings = settings_for(options, prepared.contract)
            if not step.begin(_own(options, settings)):
                if own and len(prepared.train) <= ROWS_OF_A_TASK:
                    # Each fold is some queries of its own.
                    for name, value in OVER_FEW_ROWS.items():
                        session.conf.set(name, value)
                _search(step, settings, session, prepared, folder)
        finally:
            prepared.let_go()


def _log_prepared(step: Step, prepared: SparkPrepared) -> None:
    """Write what was decided of the table where `prepare` writes it."""
    run, contract, settings = step.run, prepared.contract, step.identity.settings
    origin = step.identity.sources[0].origin if step.identity.sources else settings.data
    tracking.log_dataset(run, prepared.types, prepared.rows, origin, settings.data, step.identity.data_digest)
    run.frame("prepared/findings.csv", as_frame(prepared.findings))
    run.frame("prepared/breaches.csv", checks.as_frame(prepared.breaches))
    if settings.strict and prepared.findings:
        raise UserError(f"strict: there are findings ({said(prepared.findings)}); {prepared.findings[0].message}")
    profile = profile_of(contract, prepared.summaries, prepared.target, prepared.observed, prepared.sample)
    run.frame("prepared/profile.csv", profile)
    run.text("prepared/contract.json", contract.to_json())
    left_out = listed(f"{column.name} ({column.role})" for column in contract.left_out)
    rows, held = len(prepared.train), len(prepared.test)
    run.log(
        metrics={"train_rows": rows, "test_rows": held, "features": len(contract.features)},
        tags={"lifecycle.left_out": left_out, "lifecycle.findings": said(prepared.findings)},
    )
    print(
        f"{STEP}: {contract.task}, target {contract.target!r}, {rows} training and {held} test rows (hash), "
        f"{len(contract.features)} features, left out: {left_out}."
    )
    for sentence in checks.told(prepared.breaches):
        print(f"{STEP}: {sentence}")
    for finding in prepared.findings:
        print(f"{STEP}: finding {finding.code}: {finding.message}")


def _search(
    step: Step, settings: SearchSettings, session: "SparkSession", prepared: SparkPrepared, folder: Path
) -> None:
    if not parse_names(step.options["models"]) and not step.options["sweep"]:
        for model, reason in mllib.left_out(step.contract).items():
            print(f"{STEP}: {model} is left out, the table has {reason}.")
    design = Design(prepared)
    try:
        # From here on vectors alone are read.
        prepared.let_go()
        _search_on(step, settings, session, design, folder)
    finally:
        design.let_go()


def _search_on(step: Step, settings: SearchSettings, session: "SparkSession", design: "Design", folder: Path) -> None:
    contract, metric = step.contract, resolve_metric(settings.metric, step.contract)
    swept, on_test = bool(step.options["sweep"]), settings.select_on == "test"
    if on_test:
        tracking.claim_test_rows(step.run)
        step.run.log(tags={"optimistic": "true"})
    objective = Objective(design, metric, settings.seed, on_test, settings.log_models == "all")
    space, first = mllib.sweep() if swept else mllib.space_of(settings.models, contract)
    ranks = mllib.ranks_of(contract.task)

    def keep(record: TrialRecord) -> None:
        if record.model is not None:
            log_model(step, session, design, record.model, folder, record.run_id)
            record.model = None

    plan = searches.Plan(
        Suggester(space, settings.algo, metric, settings.seed, first),
        lambda: Engine(objective, session, min(settings.parallelism, settings.max_evals, LAG)),
        keep,
        lambda records: best_record(records, metric, contract.task, ranks=ranks),
        lambda best: None,
    )
    past = searches.past_of(step, settings, _own(step.options, settings))
    records, best, _ = searches.trials(step, settings, metric, plan, past)
    with searches.told_if_interrupted(step, settings, metric, plan, records):
        searches.log_trials(step, records, best)
        dummies = design.dummies("cv")
        if on_test:
            dummies |= design.dummies("test")
        rows = "test" if on_test else "cv"
        searches.draw_trials(step, records, metric, dummies.get(f"dummy_{rows}_{metric.name}"))
        if swept:
            frame = mllib.contour_frame(records, f"{rows}_accuracy")
            title = f"{MLLIB[contract.task][mllib.SWEPT].label} on {catalog.short_name(step.options['data'])}"
            where = "test rows" if on_test else f"mean over {len(design.labels)} folds"
            step.run.frame("contour.csv", frame)
            step.run.figure("figures/contour.png", figures.draw_contour(frame, title, f"accuracy, {where}"))
        if not on_test:
            tracking.claim_test_rows(step.run)
        _finish(step, session, objective, best, dummies, folder)


def _finish(
    step: Step,
    session: "SparkSession",
    objective: "Objective",
    best: TrialRecord,
    dummies: dict[str, float],
    folder: Path,
) -> None:
    """Refit the winner on all training rows, score it once on the test rows, log it."""
    design, contract = objective.design, step.contract
    chosen = MLLIB[contract.task][best.values["model"]]
    model = objective.fit(best.values, design.train, design.labels.sum(axis=0))
    known = {name: value for name, value in best.metrics.items() if name.startswith("cv_")}
    found = known | {"fit_seconds": best.fit_seconds, "score_seconds": best.score_seconds, "size_mb": best.size_mb}
    found |= prefixed("train", score(contract, model, design.train, areas=True))
    found |= prefixed("test", score(contract, model, design.test, areas=True))
    twins = sum(finding.count for finding in design.prepared.findings if finding.code == "twins")
    if 0 < twins < len(design.prepared.test) - 1:
        alone = score(contract, model, design.test.where(f"NOT {TWIN_COLUMN}"), areas=True)
        found |= {f"test_{name}_without_twins": value for name, value in alone.items()}
    found |= dummies | design.dummies("test")
    step.run.log(metrics=found, tags={"lifecycle.model": chosen.label, "lifecycle.rank": str(chosen.rank)})
    log_model(step, session, design, model, folder)
    finals.say(step, chosen.label, found)


class Design:
    """A prepared table as estimators of MLlib take it: one vector a row, kept in Spark until `let_go`.

    Numbers are as they are, the median of the training rows for a missing one (an estimate in large tables); a place in
    an order likewise; of a time the days and the waves of its places in the year, the week and the day; of a level a
    column each, missing being one where training has it, and none for a level that training does not have; of text the
    counts of its words in 256 buckets. Medians and levels are those of all training rows: no label has a part in them.

    Parameters
    ----------
    prepared : SparkPrepared
        The rows and what was decided.
    """

    def __init__(self, prepared: SparkPrepared) -> None:
        from pyspark.ml import PipelineModel

        self.prepared = prepared
        self.contract = prepared.contract
        self.labels = prepared.labels
        self.stages = self._stages()
        self.example = example_of(prepared)
        whole = PipelineModel(self.stages)
        self._kept: list[DataFrame] = []
        try:
            self.train = self._vectors(whole, prepared.train, prepared.train.frame, FOLD)
            self.test = self._vectors(whole, prepared.test, spark_table.with_twins(prepared), TWIN_COLUMN)
        except BaseException:
            self.let_go()
            raise

    def let_go(self) -> None:
        """Free what Spark keeps of the vectors."""
        for vectors in self._kept:
            vectors.unpersist()

    def _vectors(self, whole: "PipelineModel", side: SparkRows, rows: "DataFrame", column: str) -> "DataFrame":
        """Make the vectors of a side's rows, in as many parts as there are tasks in them, and keep them."""
        parts = max(-(-len(side) // ROWS_OF_A_TASK), 1)
        if side.frame.rdd.getNumPartitions() < parts:
            # A group of rows of Parquet, or a packed file, is one part, however large it is.
            rows = rows.repartition(parts)
        vectors = whole.transform(rows).select(FEATURES, PLACE, column).coalesce(parts).persist()
        self._kept.append(vectors)
        vectors.count()
        return vectors

    def _stages(self) -> list[Any]:
        from pyspark.ml.feature import HashingTF, OneHotEncoder, SQLTransformer, StringIndexerModel, VectorAssembler

        contract = self.contract
        numbers = sparksql.numbers_of(contract)
        medians = self._medians(numbers)
        cells, inputs = [], []
        for place, (name, sql) in enumerate(numbers.items()):
            cells.append(f"coalesce({sql}, {sparksql.literal(medians[name])}) AS __number_{place}__")
            inputs.append(f"__number_{place}__")
        columns = {column.name: column for column in contract.columns}
        levels = [columns[name] for name in contract.of_role(CATEGORICAL)]
        for place, column in enumerate(levels):
            level = sparksql.feature_sql(column, contract.missing_words)
            cells.append(f"coalesce({level}, {sparksql.literal(ABSENT)}) AS __level_{place}__")
        texts = [columns[name] for name in contract.of_role(TEXT)]
        for place, column in enumerate(texts):
            cells.append(f"{sparksql.words_sql(column, contract.missing_words)} AS __words_{place}__")
        times = [f"{sql} AS {name}" for name, sql in sparksql.times_of(contract).items()]
        rows = f"(SELECT {', '.join(['*', *times])} FROM __THIS__)"
        stages: list[Any] = [SQLTransformer(statement=f"SELECT {', '.join(['*', *cells])} FROM {rows}")]
        if levels:
            places = range(len(levels))
            for place, column in enumerate(levels):
                # One for each column: pyspark fills up lists of labels that are shorter than others with nulls.
                known = [level_of(level) for level in column.levels] + [ABSENT] * column.missing
                named = {"inputCol": f"__level_{place}__", "outputCol": f"__place_{place}__"}
                stages.append(StringIndexerModel.from_labels(known, **named, handleInvalid="keep"))
            # The last place is that of unknown levels, and has no column.
            encoder = OneHotEncoder(
                inputCols=[f"__place_{place}__" for place in places],
                outputCols=[f"__onehot_{place}__" for place in places],
                dropLast=True,
            )
            indexed = self.prepared.train.frame
            for stage in stages:
                indexed = stage.transform(indexed)
            stages.append(encoder.fit(indexed))
            inputs += [f"__onehot_{place}__" for place in places]
        for place in range(len(texts)):
            stages.append(
                HashingTF(inputCol=f"__words_{place}__", outputCol=f"__counts_{place}__", numFeatures=BUCKETS)
            )
            inputs.append(f"__counts_{place}__")
        return [*stages, VectorAssembler(inputCols=inputs, outputCol=FEATURES)]

    def _medians(self, numbers: Mapping[str, str]) -> dict[str, float]:
        """Return the median of each number over the training rows; 0 where all are missing."""
        found: dict[str, float] = {}
        names = list(numbers)
        times = [f"{sql} AS {name}" for name, sql in sparksql.times_of(self.contract).items()]
        rows = self.prepared.train.frame.selectExpr("*", *times)
        for begin in range(0, len(names), AT_ONCE):
            some = names[begin : begin + AT_ONCE]
            cells = [f"{numbers[name]} AS c{place}" for place, name in enumerate(some)]
            asked = [f"percentile_approx(c{place}, 0.5)" for place in range(len(some))]
            [row] = rows.selectExpr(*cells).selectExpr(*asked).collect()
            found |= {name: float(value or 0.0) for name, value in zip(some, row, strict=True)}
        return found

    def weighed(self, rows: "DataFrame", counts: npt.NDArray[np.int64]) -> "DataFrame":
        """Add to rows the weights by which each class counts as if it were as frequent as the others."""
        weights = ", ".join(sparksql.literal(weight) for weight in mllib.balanced_weights(counts.tolist()))
        return rows.withColumn(
            WEIGHT, spark_table.expression(f"element_at(array({weights}), CAST({PLACE} AS INT) + 1)")
        )

    def dummies(self, side: str) -> dict[str, float]:
        """Score the best constants: over the folds (``cv``) or on the test rows (``test``)."""
        found = self._class_dummies(side) if self.contract.classes else self._value_dummies(side)
        return {f"dummy_{side}_{name}": value for name, value in found.items()}

    def _class_dummies(self, side: str) -> dict[str, float]:
        if side == "test":
            counts = np.zeros(len(self.contract.classes), dtype=np.int64)
            for place, count in self.test.groupBy(PLACE).count().collect():
                counts[int(place)] = count
            pairs = [(self.labels.sum(axis=0), counts)]
        else:
            pairs = [(self.labels.sum(axis=0) - own, own) for own in self.labels]
        found = {}
        for metric in metrics_for(self.contract).values():
            scores = [dummy_of_counts(self.contract, metric, *pair) for pair in pairs]
            defined = [one for one in scores if one is not None]
            if defined:
                found[metric.name] = float(np.mean(defined))
        return found

    def _value_dummies(self, side: str) -> dict[str, float]:
        folds = range(len(self.labels)) if side == "cv" else [-1]
        asked = [
            f"{figure}({PLACE}{more}) FILTER (WHERE {FOLD} <> {fold})"
            for fold in folds
            for figure, more in (("avg", ""), ("percentile_approx", ", 0.5"))
        ]
        constants = self.train.selectExpr(*asked).collect()[0]
        scores = []
        for place, fold in enumerate(folds):
            mean, median = constants[2 * place], constants[2 * place + 1]
            held = self.test if side == "test" else self.train.where(f"{FOLD} = {fold}")
            own = held.withColumn(GUESS, spark_table.expression(sparksql.literal(float(mean))))
            other = held.withColumn(GUESS, spark_table.expression(sparksql.literal(float(median))))
            scores.append(_errors(own) | {"mae": _errors(other)["mae"]})
        return {name: float(np.mean([one[name] for one in scores])) for name in scores[0]}


def score(contract: Contract, model: Any, rows: "DataFrame", areas: bool) -> dict[str, float]:
    """Score a fitted estimator on vectors by the metrics of a table.

    One pass counts the pairs of true and predicted classes, or sums errors, and the figures are those of
    `lifecycle.metrics`; evaluators of MLlib take a pass for each figure.

    Parameters
    ----------
    contract : Contract
        Of the table.
    model : fitted estimator of MLlib
        It writes places among the classes, or values, into its column of predictions.
    rows : DataFrame
        Vectors and places or values.
    areas : bool
        Whether areas under the ROC curve are asked for, which take a pass each.
    """
    said = model.transform(rows)
    if not contract.classes:
        return _errors(said)
    size = len(contract.classes)
    confusion = np.zeros((size, size), dtype=np.int64)
    for truth, guess, count in said.groupBy(PLACE, GUESS).count().collect():
        confusion[int(truth), int(guess)] = count
    if not confusion.sum():
        return {}
    found = score_confusion(contract, confusion)
    if areas and (confusion.sum(axis=1) > 0).all():
        places = [contract.classes.index(contract.positive)] if size == 2 else list(range(size))
        found["roc_auc" if size == 2 else "roc_auc_ovr"] = float(np.mean([_area(said, place) for place in places]))
    return found


def _area(said: "DataFrame", place: int) -> float:
    """Return the area under the ROC curve of one class against the rest, every threshold counted."""
    from pyspark.ml.evaluation import BinaryClassificationEvaluator
    from pyspark.ml.functions import vector_to_array

    # The raw predictions of trees are counts of rows, which tell nothing between leaves of other sizes.
    one = said.select(
        vector_to_array("probability").getItem(place).alias("response"),
        spark_table.expression(f"CAST({PLACE} = {place} AS DOUBLE)").alias("truth"),
    )
    evaluator = BinaryClassificationEvaluator(rawPredictionCol="response", labelCol="truth", numBins=0)
    return float(evaluator.evaluate(one))


def _errors(said: "DataFrame") -> dict[str, float]:
    [row] = said.selectExpr(
        "count(*) AS rows",
        f"sum(power({PLACE} - {GUESS}, 2)) AS squares",
        f"sum(abs({PLACE} - {GUESS})) AS absolute",
        f"var_pop({PLACE}) * count(*) AS spread",
    ).collect()
    return mllib.regression_scores(row.asDict())


class Objective:
    """What evaluates a point on a design.

    Parameters
    ----------
    design : Design
        What to train on.
    metric : Metric
        The search's.
    seed : int
        Of estimators with chance in them.
    on_test : bool
        Whether a trial is scored on the test rows instead of the folds.
    keep_models : bool
        Whether each record bears the model, fitted on all training rows.
    """

    def __init__(self, design: Design, metric: Metric, seed: int, on_test: bool, keep_models: bool) -> None:
        self.design, self.metric, self.seed = design, metric, seed
        self.on_test, self.keep_models = on_test, keep_models

    def estimator(self, values: Values) -> Any:
        """Return the unfitted estimator of a point."""
        from pyspark.ml import classification, regression

        contract = self.design.contract
        chosen = MLLIB[contract.task][values["model"]]
        module = classification if contract.classes else regression
        own = {name: value for name, value in values.items() if name not in ("model", CLASS_WEIGHT)}
        columns = {"featuresCol": FEATURES, "labelCol": PLACE, "predictionCol": GUESS}
        if values.get(CLASS_WEIGHT):
            columns["weightCol"] = WEIGHT
        seed = {"seed": self.seed} if chosen.seeded else {}
        return getattr(module, chosen.estimator)(**columns, **seed, **own)

    def fit(self, values: Values, rows: "DataFrame", counts: npt.NDArray[np.int64]) -> Any:
        """Fit a point on rows, of which there are some of each class."""
        weighed = self.design.weighed(rows, counts) if values.get(CLASS_WEIGHT) else rows
        return self.estimator(values).fit(weighed)

    def __call__(self, number: int, task: Task) -> TrialRecord:
        """Evaluate a point; whatever Spark raises, and a score that is no number, is a failed record."""
        record = TrialRecord(number, task.values, started=time.time())
        try:
            known = {param.name: value for param, value in self.estimator(task.values).extractParamMap().items()}
            record.params = mllib.known_params(known) | {
                name: value for name, value in task.values.items() if name == CLASS_WEIGHT
            }
            if self.on_test:
                self._score_on_test(record)
            else:
                self._cross_validate(record)
            if not np.isfinite(record.score):
                raise ArithmeticError(f"{self.metric.name} came out as {record.score}")
            if self.keep_models and record.model is None:
                design = self.design
                record.model = self.fit(task.values, design.train, design.labels.sum(axis=0))
        except Exception as error:  # noqa: BLE001 - any failure of a fit is a failed trial, not the search's
            record.status, record.score, record.model = FAILED, float("nan"), None
            record.error = spark.said(error)
        record.ended = time.time()
        return record

    @property
    def _areas(self) -> bool:
        return self.metric.name.startswith("roc")

    def _cross_validate(self, record: TrialRecord) -> None:
        design = self.design
        scores, sizes = [], []
        for fold, own in enumerate(design.labels):
            began = time.perf_counter()
            model = self.fit(record.values, design.train.where(f"{FOLD} <> {fold}"), design.labels.sum(axis=0) - own)
            fitted = time.perf_counter()
            scores.append(score(design.contract, model, design.train.where(f"{FOLD} = {fold}"), self._areas))
            record.fit_seconds += fitted - began
            record.score_seconds += time.perf_counter() - fitted
            record.folds_done += 1
            sizes.append(size_of(model, design.contract))
        record.metrics = over_folds(scores)
        record.fold_scores = tuple(one.get(self.metric.name, float("nan")) for one in scores)
        record.size_mb = max(sizes)
        record.score = record.metrics.get(f"cv_{self.metric.name}", float("nan"))

    def _score_on_test(self, record: TrialRecord) -> None:
        design = self.design
        began = time.perf_counter()
        model = self.fit(record.values, design.train, design.labels.sum(axis=0))
        fitted = time.perf_counter()
        for side, rows in (("train", design.train), ("test", design.test)):
            record.metrics |= prefixed(side, score(design.contract, model, rows, self._areas))
        record.fit_seconds, record.score_seconds = fitted - began, time.perf_counter() - fitted
        record.size_mb = size_of(model, design.contract)
        record.score = record.metrics.get(f"test_{self.metric.name}", float("nan"))
        if self.keep_models:
            record.model = model


def size_of(model: Any, contract: Contract) -> float:
    """Return the megabytes of the numbers that a fitted estimator holds."""
    # A forest counts the nodes of all its trees, a tree its own, a linear model has none.
    nodes: Any = getattr(model, "totalNumNodes", getattr(model, "numNodes", 0))
    coefficients = 0
    if hasattr(model, "coefficientMatrix"):
        matrix = model.coefficientMatrix
        coefficients = matrix.numRows * (matrix.numCols + 1)
    elif hasattr(model, "coefficients"):
        coefficients = model.coefficients.size + 1
    return mllib.megabytes(mllib.numbers_in(int(nodes), int(coefficients), len(contract.classes)))


class Engine:
    """Trials one after the other in some threads; each is many jobs of Spark, which spreads their tasks.

    Parameters
    ----------
    objective : Objective
        What to evaluate.
    session : SparkSession
        Where it is evaluated.
    workers : int
        Trials at once.
    """

    def __init__(self, objective: Objective, session: "SparkSession", workers: int) -> None:
        self.workers = workers
        self._objective = objective
        self._context = session.sparkContext
        self._group = f"lifecycle-{id(self)}-{time.time_ns()}"

    def __enter__(self) -> "Engine":
        self._threads = ThreadPoolExecutor(self.workers)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End all jobs; of a trial under way nothing is kept."""
        if kind is not None and self._context.appName == spark.APP:
            # Our own session ends with the search, and would tell each job that is cancelled by its whole stack.
            self._context.setLogLevel("OFF")
        # A trial is many jobs, and begins another where one has been ended.
        ended = threading.Thread(target=self._threads.shutdown, kwargs={"cancel_futures": True}, daemon=True)
        ended.start()
        while ended.is_alive():
            if kind is not None:
                self._context.cancelJobGroup(self._group)
            ended.join(0.2)

    def submit(self, number: int, task: Task) -> "Future[TrialRecord]":
        """Queue a trial; the future holds its record."""
        return self._threads.submit(self._evaluate, number, task)

    def _evaluate(self, number: int, task: Task) -> TrialRecord:
        self._context.setJobGroup(self._group, f"lifecycle: trial {number}", interruptOnCancel=True)
        return self._objective(number, task)


# The model, saved.


class WithContract:
    """The Spark flavor with the contract as a further file, which mlflow's own does not take.

    Parameters
    ----------
    contract : Contract
        Of the table.
    """

    __name__ = "mlflow.spark"

    def __init__(self, contract: Contract) -> None:
        self._contract = contract

    def save_model(self, path: str, **given: Any) -> None:
        """Save a model into a folder, and its contract beside."""
        import mlflow

        given.pop("validate_serving_input", None)
        mlflow.spark.save_model(path=path, **given)
        place = Path(path) / Path(flavors.CONTRACT).parent
        place.mkdir(parents=True, exist_ok=True)
        flavors.extra_files(self._contract, place)


def pipeline_of(design: Design, model: Any) -> "PipelineModel":
    """Return the whole model from raw columns to ``prediction``, the target's own labels or values."""
    from pyspark.ml import PipelineModel
    from pyspark.ml.feature import SQLTransformer

    contract = design.contract
    guess = sparksql.label_sql(GUESS, contract.classes) if contract.classes else GUESS
    label = SQLTransformer(statement=f"SELECT *, {guess} AS prediction FROM __THIS__")
    return PipelineModel([*design.stages, model, label])


def example_of(prepared: SparkPrepared) -> Any:
    """Return five raw training rows as a pandas DataFrame of what JSON can hold."""
    contract, rows = prepared.contract, prepared.train
    cells = []
    for name in contract.features:
        kind, cell = rows.types[name], sparksql.quoted(name)
        if kind.startswith("DECIMAL"):
            cell = f"CAST({cell} AS DOUBLE)"
        elif kind.startswith(("DATE", "TIMESTAMP")):
            cell = f"CAST({cell} AS STRING)"
        cells.append(f"{cell} AS {sparksql.quoted(name)}")
    return rows.frame.selectExpr(*cells).limit(flavors.EXAMPLE_ROWS).toPandas()


def log_model(step: Step, session: "SparkSession", design: Design, model: Any, folder: Path, run_id: str = "") -> None:
    """Log a fitted estimator with all before it in the Spark flavor, as `lifecycle.adapters.flavors` logs others.

    Parameters
    ----------
    step : Step
        At work.
    session : SparkSession
        Where it was fitted.
    design : Design
        What stands before it.
    model : fitted estimator of MLlib
        Of vectors.
    folder : Path
        For what Spark writes before it is copied, where it runs on this machine.
    run_id : str, optional
        A child run to log into instead of the step's.
    """
    import mlflow
    from mlflow.models import Model

    contract = step.contract
    whole, example, target = pipeline_of(design, model), design.example, run_id or step.run.run_id
    said = [row[0] for row in whole.transform(session.createDataFrame(example)).select("prediction").collect()]
    # On a cluster mlflow's own place serves: a folder that all of its machines see.
    here = str(folder) if session.sparkContext.master.startswith("local") else None
    with tracking.once():
        Model.log(
            None,  # mlflow's former name of `name`, which it still wants
            WithContract(contract),
            name=flavors.MODEL,
            flavor_name="spark",
            run_id=target,
            spark_model=whole,
            dfs_tmpdir=here,
            signature=flavors.signature_of(contract),
            input_example=example,
            pip_requirements=pinned(PACKAGES),
            metadata=flavors.metadata_of(contract, step.identity.key),
            validate_serving_input=False,
        )
        mlflow.log_text(json.dumps(said), flavors.PREDICTIONS, run_id=target)

"""Entry point `databricks`: another entry point as a Spark job on a new cluster, followed to its end.

Not `databricks.py`: this folder is on the path of every step, and the file would hide the package of that name.
"""

from lifecycle.adapters import cli


@cli.command("databricks", others=True)
def main(options: cli.Options) -> None:
    """Submit an entry point to Databricks with the parameters that are its own, and follow the job."""
    from lifecycle.adapters import clusters, jobs, orders, projects, sources, tracking, workspaces

    order = orders.Order(options["step"], cli.given(options["step"], options["others"]))
    order.check()
    cluster = clusters.read(options["cluster"])
    if order.on_spark:
        cluster.check_for_spark()
    workspace = workspaces.Workspace.of_the_environment()
    tracking.connect()
    run = tracking.start("databricks")
    run.log(tags={"lifecycle.step": "databricks"})
    run.settings(
        {
            "step": "databricks",
            "of": order.step,
            "options": sources.logged(order.given),
            "cluster": cluster.logged,
            "libraries": cluster.libraries,
        }
    )
    with cli.Interruption() as interruption:
        job = jobs.submit(workspace, run, order, cluster)
        tracking.log_params(job.run_id, projects.typed(sources.logged(order.given)))
        # A job that was interrupted while it was sent is cancelled, whether it is waited for or not.
        if options["wait"] or interruption.asked.done():
            job.follow(interruption.asked)
            print(f"databricks: {order.step} is done, run {job.run_id}.")
        else:
            print("databricks: not waited for, as wait=false says.")
    run.end("FINISHED")


if __name__ == "__main__":
    main()

"""Data decisions of the lifecycle: values in, values out.

Nothing here imports mlflow, click or pyspark, reads the environment or opens a file; that is the work of
``lifecycle.adapters``.
"""

"""Spark: folders that it wrote itself, with arrays, with ML vectors, and with partitions."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from pyspark.ml.linalg import Vectors, VectorUDT
from pyspark.sql import SparkSession
from pyspark.sql.types import ArrayType, FloatType, StringType, StructField, StructType

os.environ["PYSPARK_PYTHON"] = sys.executable

spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.memory", "1g")
    .config("spark.driver.extraJavaOptions", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    .config("spark.sql.codegen.wholeStage", "false")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")


def write(folder: str, rows: str) -> None:
    """Folders `array`, `vector` and `partitioned`, of two parts each."""
    with np.load(rows) as file:
        ids, embeddings = file["ids"].tolist(), file["embeddings"]
    brands = ["north" if row % 2 else "south" for row in range(len(ids))]
    for name, kind, column in (
        ("array", ArrayType(FloatType()), embeddings.tolist()),
        ("vector", VectorUDT(), [Vectors.dense(row) for row in embeddings]),
    ):
        fields = [StructField("item_id", StringType()), StructField("brand", StringType())]
        schema = StructType([*fields, StructField("embedding", kind, metadata={"encoder": "planted"})])
        frame = spark.createDataFrame(list(zip(ids, brands, column, strict=True)), schema)
        frame.repartition(2).write.parquet(str(Path(folder) / name))
        if name == "array":
            frame.coalesce(1).write.partitionBy("brand").parquet(str(Path(folder) / "partitioned"))


def look(path: str) -> tuple[Any, Any, dict[str, Any]]:
    """Rows by id, for Spark keeps no order between files."""
    frame = spark.read.parquet(path)
    rows = sorted(frame.collect(), key=lambda row: row["item_id"])
    if isinstance(frame.schema["embedding"].dataType, VectorUDT):
        embeddings = np.array([row["embedding"].toArray() for row in rows])
    else:
        embeddings = np.array([row["embedding"] for row in rows], np.float32)
    facts = {"schema": frame.schema.json(), "brands": [row["brand"] for row in rows]}
    return [row["item_id"] for row in rows], embeddings, facts

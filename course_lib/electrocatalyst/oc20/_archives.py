"""The official archives of OC20: where they are, how large, and their checksums.

Facts of the data set's page in fairchem's documentation (`docs/core/datasets/oc20.md`), in the
version of 10 February 2021. The data are under CC BY 4.0: cite arXiv 2010.09990.
"""

from dataclasses import dataclass


GIB = 2**30  # bytes; the page rounds to two digits and writes G


@dataclass(frozen=True)
class Archive:
    """An archive: its address, and as published its MD5 and its sizes in bytes."""

    holds: str
    url: str
    md5: str
    compressed: int
    unpacked: int

    @property
    def file(self) -> str:
        """The name of the file."""
        return self.url.rpartition("/")[2]


def _archive(
    holds: str, file: str, md5: str, compressed: float | int, unpacked: float | int
) -> Archive:
    url = f"https://dl.fbaipublicfiles.com/opencatalystproject/data/{file}"
    return Archive(holds, url, md5, round(compressed * GIB), round(unpacked * GIB))


ARCHIVES = {
    "is2re": _archive(
        "IS2RE and IS2RS: LMDB files of all splits: train 10k, 100k, all; 4 validation, 4 test",
        "is2res_train_val_test_lmdbs.tar.gz", "cfc04dd2f87b4102ab2f607240d25fb1", 8.1, 97,
    ),
    "is2re_challenge_2021": _archive(
        "IS2RE: LMDB files of the test set of the 2021 challenge",
        "is2re_test_challenge_2021.tar.gz", "aed414cdd240fbb5670b5de6887a138b", 1.3, 17,
    ),
    "s2ef_200k": _archive(
        "S2EF: 200,000 training frames",
        "s2ef_train_200K.tar", "f8d0909c2623a393148435dede7d3a46", 0.336, 1.7,
    ),
    "s2ef_2M": _archive(
        "S2EF: 2 million training frames",
        "s2ef_train_2M.tar", "953474cb93f0b08cdc523399f03f7c36", 3.4, 17,
    ),
    "s2ef_20M": _archive(
        "S2EF: 20 million training frames",
        "s2ef_train_20M.tar", "863bc983245ffc0285305a1850e19cf7", 34, 165,
    ),
    "s2ef_all": _archive(
        "S2EF: all 133,934,018 training frames",
        "s2ef_train_all.tar", "12a7087bfd189a06ccbec9bc7add2bcd", 225, 1126,
    ),
    "s2ef_val_id": _archive(
        "S2EF: 999,866 validation frames like the training set",
        "s2ef_val_id.tar", "f57f7f5c1302637940f2cc858e789410", 1.7, 8.3,
    ),
    "s2ef_val_ood_ads": _archive(
        "S2EF: 999,838 validation frames, adsorbates not in training",
        "s2ef_val_ood_ads.tar", "431ab0d7557a4639605ba8b67793f053", 1.7, 8.2,
    ),
    "s2ef_val_ood_cat": _archive(
        "S2EF: 999,809 validation frames, catalysts not in training",
        "s2ef_val_ood_cat.tar", "532d6cd1fe541a0ddb0aa0f99962b7db", 1.7, 8.3,
    ),
    "s2ef_val_ood_both": _archive(
        "S2EF: 999,944 validation frames, neither adsorbate nor catalyst in training",
        "s2ef_val_ood_both.tar", "5731862978d80502bbf7017d68c2c729", 1.9, 9.5,
    ),
    "s2ef_test": _archive(
        "S2EF: LMDB files of the 4 test splits, labels hidden",
        "s2ef_test_lmdbs.tar.gz", "bcada432482f6e87b24e14b6b744992a", 30, 415,
    ),
    "s2ef_rattled": _archive(
        "S2EF: 16,677,031 rattled frames",
        "s2ef_rattled.tar", "40431149b27b64ce1fb40cac4e2e064b", 29, 136,
    ),
    "s2ef_md": _archive(
        "S2EF: 38,315,405 frames of molecular dynamics",
        "s2ef_md.tar", "9fed845aaab8fb4bf85e3a8db57796e0", 42, 306,
    ),
}  # fmt: skip

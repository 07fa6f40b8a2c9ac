"""Bytes as people read them."""

MiB = 2**20


def format_bytes(n: int | float) -> str:
    """Return `n` bytes as text with a unit: "512 B", "3.4 KiB", "12.3 MiB", "1.50 GiB"."""
    size = abs(n)
    if size < 2**10:
        return f"{n:.0f} B"
    if size < MiB:
        return f"{n / 2**10:.1f} KiB"
    if size < 2**30:
        return f"{n / MiB:.1f} MiB"
    return f"{n / 2**30:.2f} GiB"

# ---
# jupyter:
#   lab:
#     minutes: 5
#     seconds: 30
#     memory: 100 MiB
#     level: beginner
# ---

# %% [markdown] part=1
# # A sample lab
#
# After this lab you can build a notebook.

# %%
import os
import struct
import zlib
from pathlib import Path

from IPython.display import Image, display


# %% [markdown] part=7
# **Exercise 1.** Double a number.


# %%
def double(number):
    """Return twice the number.

    TODO: one line.
    """
    ### BEGIN SOLUTION
    twice_the_number = number + number
    return twice_the_number
    ### END SOLUTION


# %%
print("right" if double(4) == 8 else "not attempted yet")

# %% tags=["learner"]
answer = None

# %% tags=["solution"]
answer = "b"

# %% [markdown] tags=["solution"]
# The answer is b.

# %% part=10
print(f"here: {Path.cwd()}, static: {os.environ.get('COURSE_STATIC')}")
print("pictures: " + "openmoji")


# %%
def picture(shade):
    """Return a grey square of 8 x 8 pixels as PNG."""

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    rows = b"".join(b"\0" + bytes([shade]) * 8 for _ in range(8))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


display(Image(picture(100), alt="A grey square"))

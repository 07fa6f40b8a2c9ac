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
from pathlib import Path

from IPython.display import HTML


# A PNG of 8 x 8 grey pixels.
PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAADklEQVR4nGNIgQIG"
    "yhgAhHUZAVE+w4IAAAAASUVORK5CYII="
)


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
HTML(f'<img alt="A grey square" src="data:image/png;base64,{PICTURE}">')

# ---
# jupyter:
#   lab:
#     minutes: 1
#     seconds: 30
#     memory: 100 MiB
#     level: advanced
# ---

# %% [markdown] part=1
# # The lab after

# %%
print("last")

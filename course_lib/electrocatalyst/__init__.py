"""Electrocatalyst design: learn how strongly a surface binds, then rank metals.

Papers: Zitnick and others, "An Introduction to Electrocatalyst Design using Machine Learning for
Renewable Energy Storage" (arXiv 2010.09435), and "The Open Catalyst 2020 (OC20) Dataset and
Community Challenges" (arXiv 2010.09990). Everything needs the extra `chem`. From the bottom up:

* `graphs`: atoms and their neighbors under periodic boundaries, as tensors.
* `energetics`: reference energies, free energies, volcano plots.
* `surfaces`: slabs, sites, adsorbates; potentials that relax them; the course's data set.
* `models`: SchNet and CGCNN.
* `learning`: splits, metrics, training, relaxation driven by a learned model.
* `oc20`: the files of the OC20 data set.
"""

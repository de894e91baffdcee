r"""
How far is this network from the optimum, and why?
==================================================

A small network is trained on imbalanced digits. Its loss has stopped falling. Is it done? The training loss alone
cannot say, but the optimum of the unconstrained feature model can: *no* network has a lower objective.
"""

# %%
# Digits of scikit-learn, 100 of the first class down to 10 of the last; an MLP whose 32 features come out of a ReLU.
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import ufm_convex as ufm
from ufm_convex.networks import judge

torch.manual_seed(0)
torch.set_num_threads(1)
counts = ufm.counts_from_profile("exponential:classes=10,max=100,ratio=10")
images, digits = load_digits(return_X_y=True)
rows = np.concatenate([np.flatnonzero(digits == k)[:n] for k, n in enumerate(counts)])
x, y = torch.tensor(images[rows] / 16.0), torch.tensor(digits[rows])
hidden = nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU()
model = nn.Sequential(*hidden, nn.Linear(32, 10, bias=False)).double()

# %%
# Three hundred steps of Adam on cross-entropy with a penalty on the classifier and one on the features.
lambda_w, lambda_h = 5e-3, 1e-4
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
for _step in range(300):
    optimizer.zero_grad()
    h = model[:-1](x)
    penalties = lambda_w / 2 * model[-1].weight.square().sum() + lambda_h / 2 * h.square().sum()
    objective = nn.functional.cross_entropy(model[-1](h), y) + penalties
    objective.backward()
    optimizer.step()
    schedule.step()

# %%
# One call judges it: it runs the network over the data, solves the problem to a proved optimum, and splits what is
# left.
report = judge(model, [(x, y)], weight_decay=lambda_w, feature_decay=lambda_h)
print(report)

# %%
# The gap is a sum of named parts, each of them non-negative; the second panel says which classes bear it.
with torch.no_grad():
    features = model[:-1](x).numpy()
candidate = ufm.Candidate(weights=model[-1].weight.detach().numpy(), features=features, labels=y.numpy())
figure = ufm.plots.draw("attribution", report.problem, candidate=candidate, width="page")

# %%
# What was seen
# -------------
#
# The first line of the report is the one to read first: *does the model apply*? It does here, because the features
# are penalised. Then the proved gap, and what it is made of.
#
# * Networks with batch norm, bias and ordinary weight decay: :doc:`/networks`.
# * Which decay of the features belongs to your network: :doc:`/decays`.
# * What the parts of the gap are: :doc:`/attribution`.

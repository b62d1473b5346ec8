"""Write probe.json: small problems, and what scikit-learn's LogisticRegression makes of them.

Debian's python3-sklearn made it: /usr/bin/python3 worker/student/testdata/probe.py
"""
import json
import os

import numpy
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

cases = []
for seed, width, labels, train, test, spread, c in [
    (1, 4, [0, 1], 40, 60, 1.0, 1.0),
    (2, 5, [0, 2, 5], 90, 200, 1.5, 1.0),
    (3, 8, [0, 1, 2, 3], 60, 300, 1.0, 0.05),
    (4, 3, [0, 1, 2], 50, 100, 0.3, 100.0),
]:
    r = numpy.random.default_rng(seed)
    centres = r.normal(0, 1, (len(labels), width))
    scale, shift = numpy.exp(r.normal(0, 2, width)), r.normal(0, 20, width)

    def draw(n):
        which = r.integers(0, len(labels), n)
        x = (centres[which] + spread * r.normal(0, 1, (n, width))) * scale + shift
        x[:, -1] = 7.25  # a feature that never changes
        return x.astype(numpy.float32), [labels[i] for i in which]

    x, y = draw(train)
    tx, ty = draw(test)
    scaler = StandardScaler().fit(x.astype(numpy.float64))
    z = scaler.transform(x.astype(numpy.float64))
    model = LogisticRegression(C=c, multi_class="multinomial", tol=1e-12, max_iter=100000).fit(z, y)
    weights, intercepts = model.coef_, model.intercept_
    if len(labels) == 2:  # scikit-learn keeps one class's half of a symmetric pair
        weights, intercepts = numpy.concatenate([-weights, weights]), numpy.concatenate([-intercepts, intercepts])
    logits = z @ weights.T + intercepts
    top = logits.max(axis=1, keepdims=True)
    log = logits - top - numpy.log(numpy.exp(logits - top).sum(axis=1, keepdims=True))
    target = numpy.searchsorted(labels, y)
    loss = -log[numpy.arange(train), target].mean() + (weights**2).sum() / (2 * c * train)
    cases.append({
        "c": c, "width": width, "train": x.ravel().tolist(), "train_labels": y, "test": tx.ravel().tolist(),
        "test_labels": ty, "weights": weights.ravel().tolist(), "intercepts": intercepts.tolist(), "loss": float(loss),
        "accuracy": float(model.score(scaler.transform(tx.astype(numpy.float64)), ty)),
    })

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "probe.json")
with open(path, "w") as f:
    json.dump({"made_by": "scikit-learn " + sklearn.__version__, "cases": cases}, f)
    f.write("\n")
for case in cases:
    print(case["c"], case["loss"], case["accuracy"])

"""The main job, by the Python package: train, publish, find, load, predict, improve, promote, roll back.

    demo.py WORK_DIRECTORY

The data is scikit-learn's copy of the UCI handwritten digits: 1,797 images of 8x8 pixels. The network is small; the point
is what happens to it after training.
"""
import pathlib
import sys
import threading

import numpy as np
from safetensors.numpy import save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import lode


def say(text):
    print(f"  {text}", flush=True)


def train(images, labels, hidden, rounds):
    """A perceptron with one hidden layer; answers its weights by name."""
    network = MLPClassifier((hidden,), max_iter=rounds, random_state=7)
    import warnings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")         # "did not converge": the first model is meant to be poor
        network.fit(images, labels)
    (w0, w1), (b0, b1) = network.coefs_, network.intercepts_
    return {"hidden.weight": w0.astype(np.float32), "hidden.bias": b0.astype(np.float32),
            "output.weight": w1.astype(np.float32), "output.bias": b1.astype(np.float32)}


def predict(model, images):
    """Uses the weights where they lie in the library's memory: no copy is made."""
    w = {name: tensor.numpy() for name, tensor in model.items()}
    hidden = np.maximum(images @ w["hidden.weight"] + w["hidden.bias"], 0)
    return (hidden @ w["output.weight"] + w["output.bias"]).argmax(axis=1)


def accuracy(model, images, labels):
    return float((predict(model, images) == labels).mean())


def publish(root, work, weights, images, labels, **push):
    """Saves, publishes with its accuracy, loads back through the library and predicts with what came back."""
    path = work / "model.safetensors"
    save_file(weights, path)
    version = root.push(path, "digits", tags={"data": "uci-digits"}, **push)
    model = root.load(f"digits@{version['seq']}")
    score = accuracy(model, images, labels)
    root.metric(f"digits@{version['seq']}", {"accuracy": score})
    stats = model.stats
    say(f"published digits@{version['version']} (number {version['seq']}), {version['size']} bytes, {version['parameters']} parameters")
    say(f"loaded back in {stats['seconds'] * 1000:.2f} ms, verified={stats['verified']}; accuracy on unseen images {score:.1%}")
    return version, score


class Serving(threading.Thread):
    """Stands for a prediction service in another thread: follows @prod and swaps its model when the alias moves."""

    def __init__(self, url, images, labels):
        super().__init__(daemon=True)
        self.root = lode.Client(url)
        self.watch = self.root.watch("digits", timeout=10)
        self.images, self.labels = images, labels
        self.seen = []
        self.swapped = threading.Semaphore(0)

    def run(self):
        for change in self.watch:
            if change["change"] != "alias_set" or change["alias"] != "prod":
                continue
            score = accuracy(self.root.load(f"digits@{change['to']}"), self.images, self.labels)
            self.seen.append((change["to"], score))
            say(f"  [service] heard: prod {change['from'] or '(none)'} -> {change['to']}; now serving at {score:.1%}")
            self.swapped.release()

    def wait(self):
        if not self.swapped.acquire(timeout=10):
            raise SystemExit("the service did not hear of the move within 10 s")


def main():
    work = pathlib.Path(sys.argv[1])
    work.mkdir(parents=True, exist_ok=True)
    root = lode.Client()
    digits = load_digits()
    train_x, test_x, train_y, test_y = train_test_split(digits.data.astype(np.float32) / 16, digits.target, test_size=0.4, random_state=1)

    print(f"\nTraining on {len(train_x)} images, testing on {len(test_x)} others")
    first, before = publish(root, work, train(train_x, train_y, hidden=8, rounds=30), test_x, test_y, why="first try")

    service = Serving(root.url, test_x, test_y)
    service.start()
    print("\nPromoting it to prod")
    root.promote("digits@1", "prod", why="first model")
    service.wait()

    print("\nTraining a better one")
    second, after = publish(root, work, train(train_x, train_y, hidden=64, rounds=300), test_x, test_y,
                            parent="digits@prod", aliases="canary", why="eight times the hidden units")
    print("\nPromoting it, while the service watches")
    root.promote("digits@canary", "prod", why=f"accuracy {before:.1%} -> {after:.1%}")
    service.wait()

    print("\nRolling back, as one does at night")
    root.rollback("digits", "prod", why="just to show it")
    service.wait()
    now = root.resolve("digits@prod")
    assert now["version"] == first["version"], "the rollback went elsewhere"
    assert [v for v, _ in service.seen] == [first["version"], second["version"], first["version"]]
    print(f"\nAccuracy: {before:.1%} before, {after:.1%} after; prod is {now['version']} again.")


main()

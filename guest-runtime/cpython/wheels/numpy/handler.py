"""Linear algebra on OpenBLAS, FFT, the global generator, and arrays in files, mapped and not."""

import os
import tempfile

import numpy as np


def handler(event, context):
    n = event["n"]
    a = np.arange(n * n, dtype=float).reshape(n, n) % 7 + n * np.eye(n)
    inverse = np.linalg.inv(a)
    signal = np.sin(2 * np.pi * 5 * np.arange(256) / 256)
    spectrum = np.abs(np.fft.rfft(signal))
    return {
        "trace": float(np.trace(a @ a)),
        "inverse_is_right": bool(np.allclose(a @ inverse, np.eye(n))),
        "eigenvalues_sum": round(float(np.linalg.eigvalsh(a + a.T).sum()), 6),
        "solved": bool(np.allclose(a @ np.linalg.solve(a, np.ones(n)), 1)),
        "peak": int(spectrum.argmax()),
        "sorted": np.sort(np.array([3, 1, 2], dtype=np.int32)).tolist(),
        "text": np.array2string(np.float32([0.1, 1e-9]), precision=3),
        "random_is_fresh": bool(np.random.rand() != np.random.rand()),
        "files": files(a),
    }


def files(array):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "a.npy")
        np.save(path, array)
        loaded = np.load(path)
        copied_on_write = np.load(path, mmap_mode="c")
        copied_on_write[0, 0] = -1
        shared = np.memmap(os.path.join(folder, "m"), dtype=np.int64, mode="w+", shape=(1000,))
        shared[:] = np.arange(1000)
        shared.flush()
        written = np.fromfile(os.path.join(folder, "m"), dtype=np.int64)
        return [bool((loaded == array).all()), bool(np.load(path)[0, 0] == array[0, 0]), int(written.sum())]

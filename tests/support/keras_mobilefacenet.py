"""Writes MobileFaceNet-Keras with random weights as Keras saves it, and what Keras computes; for test_keras.py."""

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras.layers import Add, BatchNormalization, Conv2D, Dense, DepthwiseConv2D, Dropout, Flatten, Input, PReLU
from keras.layers import SeparableConv2D as Separable

WIDTH = 16
STAGES = ((1, 2, 2, 5), (2, 4, 2, 1), (2, 2, 1, 6), (2, 4, 2, 1), (2, 2, 1, 2))


def activated(x: Any, convolution: Any) -> Any:
    return PReLU(shared_axes=[1, 2])(BatchNormalization()(convolution(x)))


def block(x: Any, channels: int, expansion: int, stride: int, adds: bool) -> Any:
    wide = Conv2D(x.shape[-1] * expansion, 1, strides=stride, padding="same", use_bias=False)
    y = activated(activated(x, wide), DepthwiseConv2D(3, padding="same", use_bias=False))
    y = BatchNormalization()(Conv2D(channels, 1, padding="same", use_bias=False)(y))
    return Add()([y, x]) if adds else y


def network() -> Any:
    pixels = x = Input((112, 112, 3))
    x = activated(x, Conv2D(WIDTH, 3, strides=2, padding="same", use_bias=False))
    x = activated(x, Separable(WIDTH, 3, padding="same", use_bias=False))
    for times, expansion, stride, blocks in STAGES:
        for number in range(blocks):
            x = block(x, WIDTH * times, expansion, 1 if number else stride, adds=number > 0)
    x = activated(x, Conv2D(8 * WIDTH, 1, use_bias=False))
    x = BatchNormalization()(DepthwiseConv2D(7, use_bias=False)(x))
    x = Dropout(0.1)(activated(x, Conv2D(2 * WIDTH, 1, use_bias=False)))
    return keras.Model(pixels, Dense(128, use_bias=False)(Flatten()(x)))


def main(folder: Path) -> None:
    rand, model = np.random.default_rng(1), network()

    def made(variable: Any) -> Any:
        shape = tuple(variable.shape)
        if variable.name in ("kernel", "depthwise_kernel", "pointwise_kernel"):
            return rand.standard_normal(shape) * (2 / np.prod(shape[:-1])) ** 0.5
        return rand.uniform(0.3, 1.2, shape)

    model.set_weights([made(variable) for variable in model.weights])
    model.save(folder / "whole.h5")
    model.save_weights(folder / "m.weights.h5")
    x = rand.uniform(0, 1, (2, 112, 112, 3)).astype(np.float32)
    np.savez(folder / "answer.npz", x=x, y=np.asarray(model(x)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

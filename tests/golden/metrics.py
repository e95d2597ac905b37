"""Golden values for fields/src/metrics.rs, from scikit-image (0.26.0 when they were made).

    python3 -m venv /tmp/golden && /tmp/golden/bin/pip install scikit-image==0.26.0
    /tmp/golden/bin/python tests/golden/metrics.py

The images come from integer arithmetic alone, so that Rust makes the same ones bit for bit.
"""

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity


def pair(width: int, height: int, strength: int) -> tuple[np.ndarray, np.ndarray]:
    """Two images [height, width, 3], f32 in [0, 1]: a patterned one, and the same one dimmed and disturbed."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    wave = (x * (3 + c) + y * 5 + (x * y) // 7) % 512
    first = np.where(wave < 256, wave, 511 - wave)
    noise = (x * 37 + y * 91 + c * 17 + x * y * 13) % (2 * strength + 1) - strength
    second = np.clip((first * 7) // 8 + 10 + noise, 0, 255)
    return tuple((image.astype(np.float32) / np.float32(255)).astype(np.float32) for image in (first, second))


for size in [(64, 48, 20), (37, 53, 60), (11, 11, 5), (128, 16, 100)]:
    # f64 throughout: the numbers then owe nothing to the order in which f32 sums were taken.
    first, second = (image.astype(np.float64) for image in pair(*size))
    psnr = peak_signal_noise_ratio(first, second, data_range=1)
    ssim = structural_similarity(
        first, second, channel_axis=2, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    print(f"({size[0]}, {size[1]}, {size[2]}, {psnr:.9f}, {ssim:.9f}),")

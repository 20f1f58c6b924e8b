"""Edges of a grey image: decode a PGM, convolve it twice, threshold, encode. Byte work in plain Python."""

import base64

SOBEL_X = (-1, 0, 1, -2, 0, 2, -1, 0, 1)
SOBEL_Y = (-1, -2, -1, 0, 0, 0, 1, 2, 1)


def handler(event, context):
    width, height, pixels = parse_pgm(base64.b64decode(event["image"]))
    threshold = event.get("threshold", 128)
    across = convolve(pixels, width, height, SOBEL_X)
    down = convolve(pixels, width, height, SOBEL_Y)
    strength = bytes(min(255, abs(x) + abs(y)) for x, y in zip(across, down))
    edges = bytes(255 if value >= threshold else 0 for value in strength)
    return {
        "image": base64.b64encode(b"P5\n%d %d\n255\n" % (width, height) + edges).decode(),
        "width": width,
        "height": height,
        "histogram": histogram(pixels),
        "edge_pixels": edges.count(255),
    }


def parse_pgm(data):
    """The binary form of PGM without comments, one byte per pixel."""
    magic, width, height, depth, pixels = data.split(maxsplit=4)
    width, height = int(width), int(height)
    if magic != b"P5" or int(depth) != 255 or len(pixels) != width * height:
        raise ValueError("not an 8-bit binary PGM")
    return width, height, pixels


def convolve(pixels, width, height, kernel):
    """Outside the image its border goes on."""
    columns = [[min(max(x + dx, 0), width - 1) for dx in (-1, 0, 1)] for x in range(width)]
    result = []
    for y in range(height):
        rows = [min(max(y + dy, 0), height - 1) * width for dy in (-1, 0, 1)]
        for near in columns:
            result.append(sum(k * pixels[row + x] for k, (row, x) in zip(kernel, ((r, c) for r in rows for c in near))))
    return result


def histogram(pixels):
    """How many pixels in each of eight steps of grey."""
    counts = [0] * 8
    for value in pixels:
        counts[value >> 5] += 1
    return counts

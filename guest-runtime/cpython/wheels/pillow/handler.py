"""A picture drawn, resized, and sent through PNG, JPEG and WebP."""

import hashlib
import io

from PIL import Image, ImageDraw, ImageFilter, ImageFont


def handler(event, context):
    picture = Image.new("RGB", (event["width"], event["height"]), "white")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((10, 10, 90, 90), fill=(200, 30, 30), outline="black")
    draw.line((0, 0, *picture.size), fill="blue", width=3)
    draw.text((20, 40), "Mayfly", fill="black", font=ImageFont.load_default())
    small = picture.resize((50, 50), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(1)).rotate(90)
    answers = {"size": small.size, "center": picture.getpixel((50, 30)), "pixels": digest(picture.crop((0, 0, 100, 30)))}
    for name in ("PNG", "JPEG", "WEBP"):
        buffer = io.BytesIO()
        small.save(buffer, name)
        again = Image.open(io.BytesIO(buffer.getvalue()))
        again.load()
        answers[name] = [again.format, again.size, digest(again) == digest(small)]
    return answers


def digest(picture):
    return hashlib.sha256(picture.tobytes()).hexdigest()[:16]

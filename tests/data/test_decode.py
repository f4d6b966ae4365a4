"""Does the door let in what the table in docs/formats.md says, as it says, and nothing else?"""

from __future__ import annotations

import io
import struct
import threading
import time
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from small_release import encoded, picture, png, png_chunk

from melascope.data import decode
from melascope.data.decode import decode_image, decode_mask
from melascope.errors import ImageError

RGB = picture(1)


def with_exif(kind: str, orientation: int, pixels: np.ndarray = RGB, **options) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(pixels, kind, exif=exif, **options)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP"])
def test_lossless_formats_give_back_the_pixels(kind):
    data = encoded(RGB, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert np.array_equal(decode_image(data, name="x"), RGB)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 2, "quality": 60}])
def test_jpeg_gives_the_pixels_of_the_reference_decoder(options):
    data = encoded(RGB, "JPEG", **options)
    assert np.array_equal(decode_image(data, name="x"), np.asarray(Image.open(io.BytesIO(data))))


def test_the_marker_that_says_what_colours_mean_is_kept():
    """Component ids 1, 2, 3 would be read as YCbCr, were it not for Adobe's marker that says RGB."""
    data = bytearray(encoded(np.full((16, 16, 3), (200, 30, 90), np.uint8), "JPEG", keep_rgb=True))
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    for index in range(3):
        data[frame + 10 + 3 * index] = data[scan + 5 + 2 * index] = index + 1
    assert np.abs(decode_image(bytes(data), name="x").astype(int) - (200, 30, 90)).max() <= 3


def test_lossy_webp_gives_the_pixels_of_the_reference_decoder():
    data = encoded(RGB, "WEBP", quality=50)
    assert np.array_equal(decode_image(data, name="x"), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_result_is_contiguous_and_writable():
    pixels = decode_image(with_exif("PNG", 6), name="x")
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous and pixels.flags.writeable


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_orientation_is_applied_as_pillow_applies_it(kind, orientation):
    data = with_exif(kind, orientation, **({"lossless": True} if kind == "WEBP" else {}))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    assert np.array_equal(decode_image(data, name="x"), np.asarray(upright))


def test_orientation_of_a_mask_is_applied():
    grey = np.zeros((4, 6), dtype=np.uint8)
    grey[0, 0] = 255
    assert np.argwhere(decode_mask(with_exif("PNG", 3, grey), name="m")).tolist() == [[3, 5]]


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_is_read_in_both_byte_orders(order):
    begin = b"II*\0" if order == "<" else b"MM\0*"
    tiff = begin + struct.pack(order + "IHHHIHH", 8, 1, 0x0112, 3, 1, 6, 0)
    jpeg = encoded(RGB, "JPEG")
    segment = b"Exif\0\0" + tiff
    data = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]
    assert decode_image(data, name="x").shape == (20, 15, 3)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_ignored(value):
    assert decode_image(with_exif("JPEG", value), name="x").shape == RGB.shape


def test_broken_exif_is_ignored_without_a_warning():
    jpeg = encoded(RGB, "JPEG")
    segment = b"Exif\0\0II*\0\xff\xff\xff\x00garbage"
    data = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode_image(data, name="x").shape == RGB.shape


def test_metadata_never_reaches_the_decoder(monkeypatch):
    seen = []
    whole = Image.open

    def watched(stream, formats):
        seen.append(stream.getvalue())
        return whole(stream, formats=formats)

    monkeypatch.setattr(decode.Image, "open", watched)
    exif = Image.Exif()
    exif[0x010E] = "CANARY"
    for kind, more in {"JPEG": {"comment": b"CANARY"}, "PNG": {}, "WEBP": {"xmp": b"CANARY"}}.items():
        data = encoded(RGB, kind, exif=exif, icc_profile=b"CANARY profile", **more)
        assert b"CANARY" in data
        decode_image(data, name="x")
    assert len(seen) == 3 and not any(b"CANARY" in data for data in seen)


def test_grey_one_bit_and_palette_become_the_same_colours():
    grey = RGB[..., 0]
    assert np.array_equal(decode_image(encoded(grey), name="x"), np.repeat(grey[..., None], 3, axis=2))
    bits = encoded(grey > 127)
    assert np.array_equal(decode_image(bits, name="x")[..., 1], np.where(grey > 127, 255, 0))
    image = Image.fromarray(RGB).quantize(16)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    assert np.array_equal(decode_image(stream.getvalue(), name="x"), np.asarray(image.convert("RGB")))


def test_sixteen_bit_grey_and_colour_are_scaled_alike():
    values = np.array([0, 255, 256, 32768, 65280, 65535], dtype=">u2")
    grey = png(6, 1, 16, 0, b"\0" + values.tobytes())
    colour = png(6, 1, 16, 2, b"\0" + np.repeat(values, 3).tobytes())
    expected = values.astype(float) * 255 / 65535
    for data in (grey, colour):
        pixels = decode_image(data, name="x")
        assert np.abs(pixels[0] - expected[:, None]).max() < 1
        assert (pixels[0, [0, -1]] == [[0] * 3, [255] * 3]).all()
    assert np.array_equal(decode_image(grey, name="x"), decode_image(colour, name="x"))


def rgba(alpha: int) -> np.ndarray:
    return np.dstack([RGB, np.full(RGB.shape[:2], alpha, dtype=np.uint8)])


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_opaque_alpha_is_dropped_and_transparency_refused(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(decode_image(encoded(rgba(255), kind, **options), name="x"), RGB)
    with pytest.raises(ImageError, match="transparent"):
        decode_image(encoded(rgba(254), kind, **options), name="x")


def test_a_transparent_palette_entry_or_colour_is_refused_only_where_it_is_used():
    image = Image.fromarray(RGB).quantize(4)
    for transparent in (0, bytes([128, 255, 255, 255])):
        stream = io.BytesIO()
        image.save(stream, "PNG", transparency=transparent)
        with pytest.raises(ImageError, match="transparent"):
            decode_image(stream.getvalue(), name="x")
    unused = png(2, 1, 8, 2, b"\0" + bytes([1, 2, 3, 4, 5, 6]), png_chunk(b"tRNS", struct.pack(">HHH", 9, 9, 9)))
    assert decode_image(unused, name="x").tolist() == [[[1, 2, 3], [4, 5, 6]]]


def cmyk() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(RGB).convert("CMYK").save(stream, "JPEG")
    return stream.getvalue()


def animated(kind: str) -> bytes:
    stream = io.BytesIO()
    frames = [Image.fromarray(picture(seed)) for seed in (1, 2)]
    frames[0].save(stream, kind, save_all=True, append_images=frames[1:])
    return stream.getvalue()


def two_frames() -> bytes:
    data = encoded(RGB, "JPEG")
    frame = data.index(b"\xff\xc0")
    return data[:frame] + data[frame : frame + 19] + data[frame:]


def other(kind: str) -> bytes:
    return encoded(RGB, kind)


REFUSED = {
    "empty": (b"", "empty"),
    "text": (b"This is no image, whatever its name says.\n" * 9, "text"),
    "html": (b"<!DOCTYPE html><html>404</html>", "text"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "text"),
    "random": (np.random.default_rng(1).bytes(4000), "no known image format"),
    "gif": (other("GIF"), "GIF"),
    "tiff": (other("TIFF"), "TIFF"),
    "jpeg2000": (other("JPEG2000"), "JPEG 2000"),
    "avif": (other("AVIF"), "HEIC, AVIF"),
    "zip": (b"PK\x03\x04" + bytes(100), "ZIP"),
    "pdf": (b"%PDF-1.7\n", "PDF"),
    "dicom": (bytes(128) + b"DICM" + bytes(100), "DICOM"),
    "cmyk": (cmyk(), "CMYK, whose colours have no meaning"),
    "animated png": (animated("PNG"), "animated"),
    "animated webp": (animated("WEBP"), "animated"),
    "only a png signature": (b"\x89PNG\r\n\x1a\n", "broken or truncated"),
    "only a jpeg start": (b"\xff\xd8\xff", "broken or truncated"),
    "jpeg without frame": (b"\xff\xd8\xff\xda\x00\x02", "no frame"),
    "jpeg end at once": (b"\xff\xd8\xff\xd9", "ends"),
    "jpeg of two frames": (two_frames(), "two frame headers"),
    "cut webp": (encoded(RGB, "WEBP")[:-9], r"it is truncated\."),
    "run-length bmp": (b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 4, 4, 1, 8, 1) + bytes(99), "run-length"),
    "zero width": (png(0, 4, 8, 2, b""), "damaged"),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("decoder", [decode_image, decode_mask])
def test_refusals_name_the_file_and_the_reason(what, decoder):
    data, reason = REFUSED[what]
    with pytest.raises(ImageError, match=reason) as caught:
        decoder(data, name="folder/picture.jpg")
    assert caught.value.where == "folder/picture.jpg" and "JPEG" in caught.value.expected


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_a_file_cut_anywhere_is_refused(kind):
    data = encoded(picture(2, 32, 17), kind)  # rows of whole words: a BMP would pad others
    needed = data.rstrip(b"\0") if kind == "WEBP" else data  # a WebP's last byte may be padding
    last = len(needed) - (2 if kind == "JPEG" else 0)  # the end marker alone carries no pixels
    for length in {*range(0, last, 7), *range(last - 12, last)}:
        with pytest.raises(ImageError):
            decode_image(data[:length], name="x")


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "BMP"]), st.data())
def test_whatever_is_done_to_the_bytes_the_answer_is_pixels_or_a_refusal(kind, data):
    original = with_exif(kind, 6) if kind != "BMP" else encoded(RGB, kind)
    broken = bytearray(original)
    for _ in range(data.draw(st.integers(1, 8))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            pixels = decode_image(bytes(broken), name="x")
        except ImageError as error:
            assert error.where == "x"
        else:
            assert pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8


def bombs() -> dict[str, bytes]:
    """Small files that claim 20,000×20,000 pixels."""
    side = 20_000
    jpeg = bytearray(encoded(RGB, "JPEG"))
    frame = jpeg.index(b"\xff\xc0") + 5
    jpeg[frame : frame + 4] = struct.pack(">HH", side, side)
    lossless = bytearray(encoded(RGB, "WEBP", lossless=True))
    lossless[21:25] = struct.pack("<I", 16382 | 16382 << 14)
    canvas = bytearray(with_exif("WEBP", 1))
    place = canvas.index(b"VP8X") + 12
    canvas[place : place + 6] = (side - 1).to_bytes(3, "little") * 2
    bmp = bytearray(encoded(RGB, "BMP"))
    bmp[18:26] = struct.pack("<ii", side, -side)
    return {"png": png(side, side, 8, 2, b""), "jpeg": bytes(jpeg), "webp": bytes(lossless), "bmp": bytes(bmp)}


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "bmp"])
def test_a_bomb_is_refused_from_its_header(kind):
    data = bombs()[kind]
    tracemalloc.start()
    begin = time.perf_counter()
    with pytest.raises(ImageError, match="megapixels"):
        decode_image(data, name="bomb")
    seconds, peak = time.perf_counter() - begin, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 0.5 and peak < 5_000_000


def test_a_real_bomb_of_zeros_is_refused():
    stream = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(stream, "PNG")
    with pytest.raises(ImageError, match="20000×20000 pixels, more than 50 megapixels"):
        decode_image(stream.getvalue(), name="bomb.png")


def test_a_webp_with_two_sizes_is_refused():
    data = bytearray(with_exif("WEBP", 1))
    place = data.index(b"VP8X") + 12
    data[place : place + 3] = (7).to_bytes(3, "little")
    with pytest.raises(ImageError, match="broken"):
        decode_image(bytes(data), name="x")


def test_a_jpeg_of_thousands_of_scans_is_refused():
    data = encoded(RGB, "JPEG", progressive=True)
    scan = data.index(b"\xff\xda")
    with pytest.raises(ImageError, match="scans"):
        decode_image(data[:scan] + data[scan : scan + 12] * 2000 + data[scan:], name="x")


@pytest.mark.parametrize("width, refused", [(600, False), (7200, True)])
def test_a_large_jpeg_of_many_scans_is_refused(width, refused):
    """Thirty scans of a small picture take no time; of a large one they would take a second each few."""
    data = encoded(np.zeros((width * 3 // 4, width), np.uint8), "JPEG", progressive=True)
    scan = data.rindex(b"\xff\xc4", 0, data.rindex(b"\xff\xda"))
    data = data[:-2] + data[scan:-2] * 30 + data[-2:]
    if not refused:
        assert decode_image(data, name="x").shape == (450, 600, 3)
        return
    with pytest.raises(ImageError, match=r"more than 20 scans, too many for its 7200×5400 pixels"):
        decode_image(data, name="x")


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"\xff\xd8\xff" + b"\xff" * 2**22, "truncated"),
        (b"\xff\xd8" + b"\xff\xe5\x00\x02" * 2**20, "more than 100000 segments"),
        (b"RIFF" + struct.pack("<I", 4 + 8 * 2**20) + b"WEBP" + b"junk\0\0\0\0" * 2**20, "more than 100000 chunks"),
    ],
)
def test_a_header_of_millions_of_empty_parts_is_refused_soon(data, reason):
    begin = time.process_time()
    with pytest.raises(ImageError, match=reason):
        decode_image(data, name="x")
    assert time.process_time() - begin < 0.5


def test_a_webp_whose_decoder_would_take_too_much_memory_is_refused():
    lossless = bytearray(encoded(RGB, "WEBP", lossless=True))
    lossless[21:25] = struct.pack("<I", 7999 | 5999 << 14)
    with pytest.raises(ImageError, match="8000×6000 pixels, more than 40 megapixels"):
        decode_image(bytes(lossless), name="x")


def test_fill_bytes_before_a_marker_are_passed_over():
    data = encoded(RGB, "JPEG")
    filled = data[:2] + b"\xff" * 50 + data[2:]
    assert np.array_equal(decode_image(filled, name="x"), decode_image(data, name="x"))


def test_a_file_of_many_bytes_is_refused_unread(monkeypatch):
    monkeypatch.setattr(decode, "MAX_BYTES", 100)
    with pytest.raises(ImageError, match="larger"):
        decode_image(encoded(RGB), name="x")


def test_global_state_of_pillow_and_warnings_stays():
    before = (Image.MAX_IMAGE_PIXELS, list(warnings.filters))
    threads = [threading.Thread(target=lambda: decode_image(encoded(RGB, "JPEG"), name="x")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
def test_large_images_come_in_strips_without_a_seam(monkeypatch, mode):
    monkeypatch.setattr(decode, "STRIP_PIXELS", 70)
    image = Image.fromarray(picture(4, 20, 16)).convert(mode)  # strips of three rows, the last of one
    stream = io.BytesIO()
    image.save(stream, "PNG")
    assert np.array_equal(decode_image(stream.getvalue(), name="x"), np.asarray(image.convert("RGB")))


def test_masks():
    grey = np.array([[0, 127, 128, 255]], dtype=np.uint8)
    assert decode_mask(encoded(grey), name="m").tolist() == [[False, False, True, True]]
    assert decode_mask(encoded(grey > 0), name="m").tolist() == [[False, True, True, True]]
    assert decode_mask(encoded((grey > 200).astype(np.uint8)), name="m").tolist() == [[False, False, False, True]]
    assert decode_mask(encoded(np.repeat(grey[..., None], 3, 2)), name="m").tolist() == [[False, False, True, True]]
    assert not decode_mask(encoded(np.zeros((2, 2), np.uint8)), name="m").any()
    with pytest.raises(ImageError, match="colours"):
        decode_mask(encoded(RGB), name="m")


def test_every_row_of_the_modules_table_stands_in_the_document():
    document = (Path(__file__).parents[2] / "docs/formats.md").read_text()
    rows = [line.split("|")[1].strip() for line in decode.__doc__.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 10
    for row in rows:
        assert f"| {row} |" in document


def test_original_release_images(shared):
    files = sorted((shared / "ham10000-originals").glob("*.jpg"))[:10]
    for file in files:
        assert np.array_equal(decode_image(file.read_bytes(), name=file.name), np.asarray(Image.open(file)))

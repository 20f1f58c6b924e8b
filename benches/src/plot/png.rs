//! SVG to PNG.

use std::io;

use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{Options, Tree},
};

/// Part of DejaVu Sans; its licence is beside it.
const FONT: &[u8] = include_bytes!("DejaVuSans.ttf");
/// Pixels to each of the SVG's.
const SCALE: f32 = 2.0;

pub(super) fn draw(svg: &str) -> io::Result<Vec<u8>> {
    let mut options = Options { font_family: "DejaVu Sans".into(), ..Options::default() };
    options.fontdb_mut().load_font_data(FONT.to_vec());
    let tree = Tree::from_str(svg, &options).map_err(io::Error::other)?;
    let size = tree.size().to_int_size().scale_by(SCALE).ok_or_else(|| io::Error::other("a plot without a size"))?;
    let mut pixels =
        Pixmap::new(size.width(), size.height()).ok_or_else(|| io::Error::other("a plot without pixels"))?;
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    pixels.encode_png().map_err(io::Error::other)
}

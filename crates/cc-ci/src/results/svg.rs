//! What badge and card share: escaping, text width, fonts from the binary, and PNG from SVG.
//!
//! No system font and no file is ever read: the same run gives the same picture on every machine. The fonts are
//! DejaVu Sans and DejaVu Sans Mono, whose faces are part of the program. A character they lack is drawn as a box.

use std::sync::{Arc, LazyLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

use super::sanitise;

/// The family of running text.
pub(super) const SANS: &str = "DejaVu Sans";
/// The family of commits, paths and evidence.
pub(super) const MONO: &str = "DejaVu Sans Mono";

/// Why a picture could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DrawError {
    /// The SVG that was built is not valid: a fault of this program.
    #[error("the drawing is not valid SVG: {0}; please report it with the run's results.json")]
    Svg(#[from] resvg::usvg::Error),
    /// No memory for the picture, or a size of zero.
    #[error("no picture of {0}x{1} pixels can be made")]
    Size(u32, u32),
    /// The PNG could not be encoded.
    #[error("the picture could not be encoded as PNG: {0}")]
    Png(String),
}

/// The look of a piece of text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Font {
    /// [`SANS`] or [`MONO`].
    pub family: &'static str,
    /// Pixels.
    pub size: f32,
    /// Bold rather than regular.
    pub bold: bool,
}

impl Font {
    /// Regular running text of `size` pixels.
    pub(super) const fn sans(size: f32) -> Self {
        Self { family: SANS, size, bold: false }
    }

    /// Regular monospaced text of `size` pixels.
    pub(super) const fn mono(size: f32) -> Self {
        Self { family: MONO, size, bold: false }
    }

    /// The same in bold.
    pub(super) const fn bold(mut self) -> Self {
        self.bold = true;
        self
    }

    /// The attributes that select this font.
    pub(super) fn attributes(self) -> String {
        let weight = if self.bold { "bold" } else { "normal" };
        format!(r#"font-family="{}" font-size="{}" font-weight="{weight}""#, self.family, self.size)
    }
}

/// Text as XML character data or attribute value: one harmless line, the five special characters escaped. What
/// XML 1.0 forbids has been taken out by [`sanitise`].
pub(super) fn escape(input: &str) -> String {
    let mut out = String::with_capacity(input.len());
    for c in sanitise::line(input, 400).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

/// Width in pixels that `text` takes in `font`, measured by the engine that will draw it. 0 for what cannot be drawn.
pub(super) fn width(text: &str, font: Font) -> f32 {
    let svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><text xml:space="preserve" {}>{}</text></svg>"#,
        font.attributes(),
        escape(text)
    );
    Tree::from_str(&svg, &options()).map_or(0.0, |tree| tree.root().abs_bounding_box().width())
}

/// The longest beginning of `text`, with `…` if it was cut, that fits into `max` pixels; as one harmless line.
pub(super) fn fit(text: &str, font: Font, max: f32) -> String {
    let line = sanitise::line(text, 400);
    if width(&line, font) <= max {
        return line;
    }
    let (mut fits, mut too_long) = (0, line.chars().count());
    while fits + 1 < too_long {
        let middle = (fits + too_long) / 2;
        if width(&sanitise::clip(&line, middle), font) <= max { fits = middle } else { too_long = middle }
    }
    sanitise::clip(&line, fits.max(1))
}

/// Draws an SVG document as PNG, `scale` times its own size.
///
/// # Errors
/// If the document is not valid, too large, or cannot be encoded.
pub fn to_png(svg: &str, scale: f32) -> Result<Vec<u8>, DrawError> {
    let tree = Tree::from_str(svg, &options())?;
    let size = tree.size().to_int_size().scale_by(scale).ok_or(DrawError::Size(0, 0))?;
    let mut pixmap = Pixmap::new(size.width(), size.height()).ok_or(DrawError::Size(size.width(), size.height()))?;
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixmap.as_mut());
    pixmap.encode_png().map_err(|e| DrawError::Png(e.to_string()))
}

fn options() -> Options<'static> {
    static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
        let mut fonts = fontdb::Database::new();
        for face in
            [dejavu::sans::regular(), dejavu::sans::bold(), dejavu::sans_mono::regular(), dejavu::sans_mono::bold()]
        {
            fonts.load_font_source(fontdb::Source::Binary(Arc::new(face)));
        }
        Arc::new(fonts)
    });
    Options { fontdb: Arc::clone(&FONTS), font_family: SANS.to_owned(), ..Options::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaping_leaves_no_markup() {
        assert_eq!(
            escape("<a b='c' d=\"e\">&\u{1b}[31m\u{0}\u{ffff}\nf"),
            "&lt;a b=&#39;c&#39; d=&quot;e&quot;&gt;&amp; f"
        );
    }

    #[test]
    fn width_grows_with_text_and_size() {
        let font = Font::sans(20.0);
        assert!(width("iiii", font) < width("mmmm", font));
        assert!(width("mmmm", font) < width("mmmm", font.bold()));
        assert!((width("abc", Font::mono(20.0)) - width("iil", Font::mono(20.0))).abs() < 1.0);
        assert!(width("漢字", font) > 0.0);
    }

    #[test]
    fn fitted_text_fits() {
        let font = Font::sans(20.0);
        let long = "a-recipe-with-an-unreasonably-long-name".repeat(3);
        for max in [40.0, 133.0, 500.0] {
            let cut = fit(&long, font, max);
            assert!(cut.ends_with('…') && width(&cut, font) <= max, "{cut}");
            assert!(width(&long[..cut.len()], font) > max - 30.0, "{cut} is shorter than it must be");
        }
        assert_eq!(fit("short", font, 500.0), "short");
    }

    #[test]
    fn invalid_svg_is_an_error_and_no_panic() {
        assert!(matches!(to_png("<svg", 1.0), Err(DrawError::Svg(_))));
    }
}

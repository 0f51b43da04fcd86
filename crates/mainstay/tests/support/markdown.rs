//! The project's pages, as far as tests look into them: code, links, headings.

use std::path::{Path, PathBuf};

/// A page of the repository.
pub struct Page {
    /// From the repository's root.
    pub path: PathBuf,
    pub blocks: Vec<Block>,
    /// (line, text) of what isn't in a block of code.
    pub prose: Vec<(usize, String)>,
}

/// A block of code.
pub struct Block {
    /// What stands behind the fence; empty for one that is indented.
    pub info: String,
    /// The line of the page on which its text begins.
    pub line: usize,
    pub text: String,
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every page, in the order of their paths.
pub fn pages() -> Vec<Page> {
    let (root, mut pages) = (root(), Vec::new());
    find(&root, &root, &mut pages);
    pages.sort();
    pages.iter().map(|path| page(path)).collect()
}

fn find(root: &Path, folder: &Path, pages: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_symlink() || name.starts_with('.') || ["target", "node_modules"].contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            find(root, &path, pages);
        } else if name.ends_with(".md") {
            pages.push(path.strip_prefix(root).unwrap().to_owned());
        }
    }
}

/// The page at `path`, from the repository's root.
pub fn page(path: &Path) -> Page {
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    let mut page = Page { path: path.to_owned(), blocks: Vec::new(), prose: Vec::new() };
    let mut open: Option<Block> = None;
    let mut blank = true;
    for (line, nth) in text.lines().zip(1..) {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut open, fence) {
            (Some(_), Some(_)) => page.blocks.extend(open.take()),
            (Some(block), None) => block.text.push_str(&format!("{line}\n")),
            (None, Some(info)) => {
                open = Some(Block { info: info.trim().to_owned(), line: nth + 1, text: String::new() });
            }
            (None, None) => match page.blocks.last_mut() {
                Some(block) if line.starts_with("    ") && block.info.is_empty() && block.ends_at(nth) => {
                    block.text.push_str(&format!("{}\n", &line[4..]));
                }
                _ if line.starts_with("    ") && blank => {
                    let text = format!("{}\n", &line[4..]);
                    page.blocks.push(Block { info: String::new(), line: nth, text });
                }
                _ => page.prose.push((nth, line.to_owned())),
            },
        }
        blank = line.trim().is_empty();
    }
    assert!(open.is_none(), "{}: a block of code has no end", path.display());
    page
}

impl Block {
    fn ends_at(&self, line: usize) -> bool {
        self.line + self.text.lines().count() == line
    }

    /// Whether it is of this language.
    pub fn is(&self, language: &str) -> bool {
        self.info.split_whitespace().next() == Some(language)
    }
}

/// What `[…](here)` says, for every link of a line. What is between backticks is no link.
pub fn links(line: &str) -> Vec<String> {
    let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join("``");
    let ends = plain.split("](").skip(1);
    ends.filter_map(|end| Some(end.split_once(')')?.0.to_owned())).collect()
}

/// What is between backticks.
pub fn code_spans(line: &str) -> Vec<String> {
    line.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The anchors of a page's headings, as forges and mdBook make them.
pub fn anchors(page: &Page) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for (_, line) in &page.prose {
        let Some(heading) = line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#'))
        else {
            continue;
        };
        let shown: String = heading
            .split("](")
            .enumerate()
            .map(
                |(nth, part)| {
                    if nth == 0 { part } else { part.split_once(')').map_or(part, |(_, rest)| rest) }
                },
            )
            .collect();
        let anchor: String = shown
            .trim()
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let before = anchors.iter().filter(|other| **other == anchor).count();
        anchors.push(if before == 0 { anchor } else { format!("{anchor}-{before}") });
    }
    anchors
}

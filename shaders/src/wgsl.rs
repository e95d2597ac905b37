//! The shaders' text: files that import one another by `#import name`, each taken in once, before what needs it.
//!
//! The files lie in `wgsl/` and are part of the program. Some names stand for text made at run time: what a field's
//! sampler is told ([`crate::snapshot::FieldSnapshot`]).

use std::fmt;

macro_rules! files {
    ($($name:literal => $path:literal;)*) => {
        /// Every file by the name that `#import` uses.
        pub const FILES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../wgsl/", $path)))),*];
    };
}

files! {
    "cover" => "cover.wgsl";
    "view" => "view.wgsl";
    "volume" => "volume.wgsl";
    "sh" => "sh.wgsl";
    "colour_head" => "colour_head.wgsl";
    "march" => "march.wgsl";
    "probe" => "probe.wgsl";
    "project" => "project.wgsl";
    "splat_types" => "splat_types.wgsl";
    "splat" => "splat.wgsl";
    "show" => "show.wgsl";
    "fields/hash" => "fields/hash.wgsl";
    "fields/mlp" => "fields/mlp.wgsl";
    "fields/voxels" => "fields/voxels.wgsl";
    "fields/factors" => "fields/factors.wgsl";
}

/// An import that leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchFile {
    /// The name that was asked for.
    pub name: String,
    /// The file that asked for it.
    pub asked_by: String,
}

impl fmt::Display for NoSuchFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the shader \"{}\" imports \"{}\", which there is not", self.asked_by, self.name)
    }
}

impl std::error::Error for NoSuchFile {}

/// The whole text of `entry`, with `made` beside [`FILES`]: a made name goes before a file's.
///
/// # Errors
/// When an import leads nowhere.
pub fn resolve(entry: &str, made: &[(&str, &str)]) -> Result<String, NoSuchFile> {
    let mut resolver = Resolver { made, taken: Vec::new(), out: String::new() };
    resolver.take(entry, "the program")?;
    Ok(resolver.out)
}

struct Resolver<'a> {
    made: &'a [(&'a str, &'a str)],
    taken: Vec<String>,
    out: String,
}

impl Resolver<'_> {
    fn take(&mut self, name: &str, asked_by: &str) -> Result<(), NoSuchFile> {
        if self.taken.iter().any(|taken| taken == name) {
            return Ok(());
        }
        // Taken before its imports are: two files that import each other end there.
        self.taken.push(name.into());
        let found = self.made.iter().chain(FILES).find(|(known, _)| *known == name);
        let (_, text) = found.ok_or_else(|| NoSuchFile { name: name.into(), asked_by: asked_by.into() })?;
        let imports = text.lines().filter_map(|line| line.strip_prefix("#import "));
        for import in imports {
            self.take(import.trim(), name)?;
        }
        self.out += &format!("// ---- {name}\n");
        for line in text.lines().filter(|line| !line.starts_with("#import ")) {
            self.out += line;
            self.out.push('\n');
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_taken_once_and_before_what_needs_it() {
        let made = [("a", "#import c\nuse a"), ("b", "#import a\n#import c\nuse b"), ("c", "use c")];
        let text = resolve("b", &made).unwrap();
        let order: Vec<&str> = text.lines().filter(|line| line.starts_with("use")).collect();
        assert_eq!(order, ["use c", "use a", "use b"]);
    }

    #[test]
    fn what_is_made_goes_before_a_file() {
        let text = resolve("sh", &[("sh", "mine")]).unwrap();
        assert!(text.contains("mine") && !text.contains("fn sh_basis"));
    }

    #[test]
    fn an_import_that_leads_nowhere_is_named() {
        let error = resolve("a", &[("a", "#import nowhere")]).unwrap_err();
        assert_eq!(error, NoSuchFile { name: "nowhere".into(), asked_by: "a".into() });
        assert!(error.to_string().contains("nowhere"));
    }

    #[test]
    fn files_that_import_each_other_come_to_an_end() {
        assert!(resolve("a", &[("a", "#import b"), ("b", "#import a")]).is_ok());
    }
}

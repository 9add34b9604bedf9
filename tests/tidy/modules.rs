//! The modules of crates, and what each name in them means.
//!
//! Names are resolved as the compiler does it, but without types and without expanding macros: a name that its module does not define in plain
//! sight (a macro makes it) belongs to the module's file.

use std::collections::BTreeMap;

use syn::{Attribute, Ident, Item, ItemMod, ItemUse, Meta, UseTree, punctuated::Punctuated};

/// All modules of some crates.
pub(crate) struct Modules<'r> {
    read: &'r dyn Fn(&str) -> Option<String>,
    pub(crate) files: Vec<String>,
    scopes: Vec<Scope>,
    /// The root modules of libraries, by the name under which others use them.
    crates: BTreeMap<String, ScopeId>,
    /// Modules whose names are known, and whose code is still to be read.
    pub(crate) unread: Vec<(ScopeId, Vec<Item>)>,
}

pub(crate) type ScopeId = usize;

/// The segments of a path. A leading `::` is a segment of its own.
pub(crate) type Path = Vec<String>;

/// A module, or a block of code with items of its own.
struct Scope {
    file: usize,
    /// Where the files of its child modules are.
    folder: String,
    /// The module or block around it; none around the root of a crate.
    parent: Option<ScopeId>,
    is_block: bool,
    /// A name can mean several things: a module and a function, say.
    names: BTreeMap<String, Vec<Meaning>>,
    globs: Vec<Path>,
}

enum Meaning {
    Defined,
    Module(ScopeId),
    Imported(Path),
}

/// Where a path leads.
pub(crate) enum Target {
    Module(ScopeId),
    Defined { file: usize, name: String },
}

impl Target {
    pub(crate) fn is_module(&self) -> bool {
        matches!(self, Self::Module(_))
    }
}

/// The imports that are being followed: scope, name, and which of its meanings.
type Following = Vec<(ScopeId, String, usize)>;

/// First: which modules there are, and what their names mean.
impl<'r> Modules<'r> {
    /// Of the crates in these folders, such as `crates/mail`; `read` gives the text of a file, if there is one.
    pub(crate) fn of_crates<'a>(folders: impl IntoIterator<Item = &'a str>, read: &'r dyn Fn(&str) -> Option<String>) -> Self {
        let mut modules = Self { read, files: Vec::new(), scopes: Vec::new(), crates: BTreeMap::new(), unread: Vec::new() };
        for folder in folders {
            let name = folder.rsplit('/').next().expect("rsplit gives something");
            for root in ["lib", "main"] {
                let source = format!("{folder}/src");
                let Some(scope) = modules.file_module(&format!("{source}/{root}.rs"), source, None) else { continue };
                if root == "lib" {
                    modules.crates.insert(format!("posthaste_{}", name.replace('-', "_")), scope);
                }
            }
        }
        modules
    }

    pub(crate) fn file_of(&self, scope: ScopeId) -> usize {
        self.scopes[scope].file
    }

    /// A scope for a block with these items.
    pub(crate) fn block<'i>(&mut self, around: ScopeId, items: impl IntoIterator<Item = &'i Item>) -> ScopeId {
        let Scope { file, folder, .. } = &self.scopes[around];
        let scope = self.scope(*file, folder.clone(), Some(around), true);
        self.learn(scope, items);
        scope
    }

    fn file(&mut self, path: &str) -> usize {
        self.files.iter().position(|known| known == path).unwrap_or_else(|| {
            self.files.push(path.to_owned());
            self.files.len() - 1
        })
    }

    fn file_module(&mut self, path: &str, folder: String, parent: Option<ScopeId>) -> Option<ScopeId> {
        let text = (self.read)(path)?;
        let source = syn::parse_file(&text).unwrap_or_else(|e| panic!("{path}: {e}"));
        let file = self.file(path);
        let items = if is_for_tests(&source.attrs) { Vec::new() } else { source.items };
        Some(self.module(file, folder, parent, items))
    }

    fn module(&mut self, file: usize, folder: String, parent: Option<ScopeId>, items: Vec<Item>) -> ScopeId {
        let scope = self.scope(file, folder, parent, false);
        self.learn(scope, &items);
        self.unread.push((scope, items));
        scope
    }

    fn scope(&mut self, file: usize, folder: String, parent: Option<ScopeId>, is_block: bool) -> ScopeId {
        self.scopes.push(Scope { file, folder, parent, is_block, names: BTreeMap::new(), globs: Vec::new() });
        self.scopes.len() - 1
    }

    fn learn<'i>(&mut self, scope: ScopeId, items: impl IntoIterator<Item = &'i Item>) {
        for item in items {
            match item {
                Item::Mod(module) if !is_for_tests(&module.attrs) => {
                    let child = self.child_module(scope, module);
                    self.means(scope, module.ident.to_string(), Meaning::Module(child));
                }
                Item::Use(item) if !is_for_tests(&item.attrs) => {
                    for (path, name) in used_paths(item) {
                        match name {
                            Some(name) => self.means(scope, name, Meaning::Imported(path)),
                            None => self.scopes[scope].globs.push(path),
                        }
                    }
                }
                other => {
                    if let Some(name) = defined_name(other) {
                        self.means(scope, name.to_string(), Meaning::Defined);
                    }
                }
            }
        }
    }

    fn means(&mut self, scope: ScopeId, name: String, meaning: Meaning) {
        self.scopes[scope].names.entry(name).or_default().push(meaning);
    }

    fn child_module(&mut self, parent: ScopeId, module: &ItemMod) -> ScopeId {
        let Scope { file, folder, .. } = &self.scopes[parent];
        let inner = format!("{folder}/{}", module.ident);
        if let Some((_, items)) = &module.content {
            return self.module(*file, inner, Some(parent), items.clone());
        }
        let places = [format!("{inner}.rs"), format!("{inner}/mod.rs")];
        let child = places.iter().find_map(|path| self.file_module(path, inner.clone(), Some(parent)));
        child.unwrap_or_else(|| {
            panic!("{} declares `mod {}`; neither {} is there", self.file_name(parent), module.ident, places.join(" nor "))
        })
    }

    fn file_name(&self, scope: ScopeId) -> &str {
        &self.files[self.scopes[scope].file]
    }
}

/// Then: where a path leads.
impl Modules<'_> {
    /// All that a path can mean in a scope; nothing if it leads out of the house.
    pub(crate) fn targets(&self, scope: ScopeId, path: &[String]) -> Vec<Target> {
        self.resolve(scope, path, &mut Following::new())
    }

    fn resolve(&self, scope: ScopeId, path: &[String], following: &mut Following) -> Vec<Target> {
        let Some((first, rest)) = path.split_first() else { return Vec::new() };
        let mut targets = match first.as_str() {
            "crate" => vec![Target::Module(self.root_of(scope))],
            "self" => vec![Target::Module(self.module_of(scope))],
            "super" => vec![Target::Module(self.module_around(self.module_of(scope)))],
            // `::name` is a crate.
            "::" => return self.crates_member(rest, following),
            name => self.in_scope(scope, name, following),
        };
        for name in rest {
            // Where a module and a function have the same name, the path goes on in the module.
            if targets.iter().any(Target::is_module) {
                targets.retain(Target::is_module);
            }
            targets = targets.into_iter().flat_map(|target| self.member(target, name, following)).collect();
        }
        targets
    }

    fn crates_member(&self, path: &[String], following: &mut Following) -> Vec<Target> {
        let Some((name, rest)) = path.split_first() else { return Vec::new() };
        let Some(&root) = self.crates.get(name) else { return Vec::new() };
        let in_root: Vec<_> = std::iter::once("crate".to_owned()).chain(rest.iter().cloned()).collect();
        self.resolve(root, &in_root, following)
    }

    fn in_scope(&self, scope: ScopeId, name: &str, following: &mut Following) -> Vec<Target> {
        let mut around = Some(scope);
        while let Some(scope) = around {
            if let Some(targets) = self.find(scope, name, following) {
                return targets;
            }
            around = if self.scopes[scope].is_block { self.scopes[scope].parent } else { None };
        }
        self.crates.get(name).map(|&root| Target::Module(root)).into_iter().collect()
    }

    fn member(&self, of: Target, name: &str, following: &mut Following) -> Vec<Target> {
        match of {
            itself if name == "self" => vec![itself],
            Target::Module(module) if name == "super" => vec![Target::Module(self.module_around(module))],
            Target::Module(module) => self.find(module, name, following).unwrap_or_else(|| vec![self.defined_in(module, name)]),
            // What is in a type, such as a variant or a constant, is where the type is.
            defined => vec![defined],
        }
    }

    /// What a name means among a scope's own names; none if it is not known there.
    fn find(&self, scope: ScopeId, name: &str, following: &mut Following) -> Option<Vec<Target>> {
        let mut found = None;
        for (nth, meaning) in self.scopes[scope].names.get(name).into_iter().flatten().enumerate() {
            let step = (scope, name.to_owned(), nth);
            let targets = match meaning {
                Meaning::Defined => vec![self.defined_in(scope, name)],
                Meaning::Module(module) => vec![Target::Module(*module)],
                // The name that a `use` gives does not explain its own path: `mod trace; pub use trace::trace;`, or `use jiff as jiff;`.
                Meaning::Imported(_) if following.contains(&step) => continue,
                Meaning::Imported(path) => {
                    following.push(step);
                    let targets = self.resolve(scope, path, following);
                    following.pop();
                    targets
                }
            };
            found.get_or_insert_with(Vec::new).extend(targets);
        }
        found.or_else(|| self.find_by_globs(scope, name, following))
    }

    fn find_by_globs(&self, scope: ScopeId, name: &str, following: &mut Following) -> Option<Vec<Target>> {
        let step = (scope, "*".to_owned(), 0);
        if following.contains(&step) {
            return None;
        }
        following.push(step);
        let modules = self.scopes[scope].globs.iter().flat_map(|path| self.resolve(scope, path, following)).collect::<Vec<_>>();
        let found = modules.into_iter().find_map(|target| match target {
            Target::Module(module) => self.find(module, name, following),
            Target::Defined { .. } => None,
        });
        following.pop();
        found
    }

    fn defined_in(&self, scope: ScopeId, name: &str) -> Target {
        Target::Defined { file: self.scopes[scope].file, name: name.to_owned() }
    }

    fn root_of(&self, scope: ScopeId) -> ScopeId {
        self.scopes[scope].parent.map_or(scope, |parent| self.root_of(parent))
    }

    fn module_of(&self, scope: ScopeId) -> ScopeId {
        if self.scopes[scope].is_block { self.module_of(self.scopes[scope].parent.expect("a block is in a module")) } else { scope }
    }

    fn module_around(&self, module: ScopeId) -> ScopeId {
        self.module_of(self.scopes[module].parent.expect("`super` in the root of a crate would not compile"))
    }
}

/// `#[cfg(test)]` or `#[cfg(all(test, …))]`.
pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    fn needs_test(meta: &Meta) -> bool {
        match meta {
            Meta::Path(path) => path.is_ident("test"),
            Meta::List(list) if list.path.is_ident("cfg") || list.path.is_ident("all") => {
                let inner = list.parse_args_with(Punctuated::<Meta, syn::Token![,]>::parse_terminated);
                inner.is_ok_and(|inner| inner.iter().any(needs_test))
            }
            _ => false,
        }
    }
    attributes.iter().any(|a| a.path().is_ident("cfg") && needs_test(&a.meta))
}

fn defined_name(item: &Item) -> Option<&Ident> {
    match item {
        Item::Const(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Macro(item) => item.ident.as_ref(),
        Item::Static(item) => Some(&item.ident),
        Item::Struct(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        Item::TraitAlias(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        Item::Union(item) => Some(&item.ident),
        _ => None,
    }
}

/// Each path of a `use` with the name that it gets; `*` gives none. `a::{self}` stays `a::self`: it means the module, no function `a`.
pub(crate) fn used_paths(item: &ItemUse) -> Vec<(Path, Option<String>)> {
    fn branch(tree: &UseTree, mut path: Path, paths: &mut Vec<(Path, Option<String>)>) {
        match tree {
            UseTree::Path(next) => {
                path.push(next.ident.to_string());
                branch(&next.tree, path, paths);
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| branch(tree, path.clone(), paths)),
            UseTree::Name(leaf) => {
                let name = if leaf.ident == "self" { path.last().cloned() } else { Some(leaf.ident.to_string()) };
                path.push(leaf.ident.to_string());
                paths.push((path, name));
            }
            UseTree::Rename(leaf) => {
                path.push(leaf.ident.to_string());
                paths.push((path, Some(leaf.rename.to_string())));
            }
            UseTree::Glob(_) => paths.push((path, None)),
        }
    }
    let mut paths = Vec::new();
    branch(&item.tree, item.leading_colon.map(|_| "::".to_owned()).into_iter().collect(), &mut paths);
    paths
}

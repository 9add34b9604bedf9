//! Reads Rust sources and says which file imports which names from which other file.
//!
//! - An import is a private `use`, or a path in code, also in the arguments of macros and attributes. It leads to the file that *defines* the name,
//!   through any chain of re-exports, aliases and crates.
//! - `mod child;`, `pub use` (of any visibility) and a `use` of a module are no imports; a name that is then reached through them is one.
//! - Code under `#[cfg(test)]` is left out, and so are files that only such code declares.
//! - Not seen: method calls, and paths inside string literals such as `#[serde(with = "…")]`.

use std::collections::{BTreeMap, BTreeSet};

use syn::{
    Block, ItemMod, ItemUse, Macro, MetaList, Stmt, Visibility,
    buffer::{Cursor, TokenBuffer},
    visit::{self, Visit},
};

use super::modules::{Modules, Path, ScopeId, Target, is_for_tests, used_paths};

/// Who imports what from whom. Files are known by their path from the root of the repository.
pub(crate) struct Imports {
    pub(crate) files: Vec<String>,
    /// From the file that imports to the file that defines (as indices into `files`, never the same): the names.
    pub(crate) names: BTreeMap<(usize, usize), BTreeSet<String>>,
}

impl Imports {
    /// Reads the crates in these folders, such as `crates/mail`; `read` gives the text of a file, if there is one.
    pub(crate) fn of_crates<'a>(folders: impl IntoIterator<Item = &'a str>, read: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut modules = Modules::of_crates(folders, read);
        let mut names = BTreeMap::new();
        while let Some((scope, items)) = modules.unread.pop() {
            let mut walk = Walk { modules: &mut modules, names: &mut names, scope };
            items.iter().for_each(|item| walk.visit_item(item));
        }
        Self { files: modules.files, names }
    }
}

/// Goes through the code of a module and notes what it imports.
struct Walk<'a, 'r> {
    modules: &'a mut Modules<'r>,
    names: &'a mut BTreeMap<(usize, usize), BTreeSet<String>>,
    scope: ScopeId,
}

impl Walk<'_, '_> {
    fn note(&mut self, path: &[String]) {
        let targets = self.resolve(path);
        self.note_targets(targets);
    }

    fn resolve(&self, path: &[String]) -> Vec<Target> {
        self.modules.targets(self.scope, path)
    }

    fn note_targets(&mut self, targets: Vec<Target>) {
        let from = self.modules.file_of(self.scope);
        for target in targets {
            if let Target::Defined { file, name } = target
                && file != from
            {
                self.names.entry((from, file)).or_default().insert(name);
            }
        }
    }

    fn note_tokens(&mut self, mut at: Cursor<'_>) {
        while !at.eof() {
            if let Some((inside, _, _, behind)) = at.any_group() {
                self.note_tokens(inside);
                at = behind;
            } else if let Some((path, behind)) = path_at(at) {
                self.note(&path);
                at = behind;
            } else {
                at = at.token_tree().expect("this is not the end").1;
            }
        }
    }
}

/// Visits what is not only for tests.
macro_rules! visit_unless_for_tests {
    ($($visit:ident $node:ident,)*) => {$(
        fn $visit(&mut self, node: &'ast syn::$node) {
            if !is_for_tests(&node.attrs) {
                visit::$visit(self, node);
            }
        }
    )*};
}

impl<'ast> Visit<'ast> for Walk<'_, '_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let root = path.leading_colon.map(|_| "::".to_owned());
        let segments = root.into_iter().chain(path.segments.iter().map(|s| s.ident.to_string())).collect::<Vec<_>>();
        self.note(&segments);
        visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if matches!(item.vis, Visibility::Inherited) && !is_for_tests(&item.attrs) {
            for (path, _) in used_paths(item) {
                let targets = self.resolve(&path);
                // Where a function has the name of the module, it is seen when it is called.
                if !targets.iter().any(Target::is_module) {
                    self.note_targets(targets);
                }
            }
        }
    }

    /// Its code is read as a module of its own.
    fn visit_item_mod(&mut self, _: &'ast ItemMod) {}

    fn visit_block(&mut self, block: &'ast Block) {
        let items: Vec<_> = block.stmts.iter().filter_map(|s| if let Stmt::Item(item) = s { Some(item) } else { None }).collect();
        let around = self.scope;
        if !items.is_empty() {
            self.scope = self.modules.block(around, items);
        }
        visit::visit_block(self, block);
        self.scope = around;
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        visit::visit_macro(self, call);
        self.note_tokens(TokenBuffer::new2(call.tokens.clone()).begin());
    }

    fn visit_meta_list(&mut self, list: &'ast MetaList) {
        self.note_tokens(TokenBuffer::new2(list.tokens.clone()).begin());
    }

    visit_unless_for_tests! {
        visit_item_const ItemConst,
        visit_item_enum ItemEnum,
        visit_item_fn ItemFn,
        visit_item_impl ItemImpl,
        visit_item_macro ItemMacro,
        visit_item_static ItemStatic,
        visit_item_struct ItemStruct,
        visit_item_trait ItemTrait,
        visit_item_type ItemType,
        visit_impl_item_const ImplItemConst,
        visit_impl_item_fn ImplItemFn,
        visit_impl_item_type ImplItemType,
        visit_trait_item_fn TraitItemFn,
        visit_field Field,
        visit_variant Variant,
        visit_field_value FieldValue,
        visit_arm Arm,
        visit_local Local,
        visit_stmt_macro StmtMacro,
        visit_expr_block ExprBlock,
    }
}

/// `crate::a::b` among the arguments of a macro.
fn path_at(at: Cursor<'_>) -> Option<(Path, Cursor<'_>)> {
    fn colon(at: Cursor<'_>) -> Option<Cursor<'_>> {
        at.punct().filter(|(punct, _)| punct.as_char() == ':').map(|(_, behind)| behind)
    }
    let (first, mut at) = at.ident()?;
    let mut path = vec![first.to_string()];
    while let Some((next, behind)) = colon(at).and_then(colon).and_then(Cursor::ident) {
        path.push(next.to_string());
        at = behind;
    }
    Some((path, at))
}

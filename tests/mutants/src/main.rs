//! Writes every mutant of a source tree into it at once, each behind a switch.
//!
//! `mutants TREE LIST DROPPED ROOM...` rewrites the files of the rooms below TREE in place, writes one line
//! for each mutant to LIST (number, file, place, function, what is changed) and leaves out the numbers that
//! the file DROPPED holds: those that do not compile. One build then holds all of them: with `S1C_MUTANT=n`
//! number n is on, and `S1C_REACH=FILE` records which ones a run reaches. Promises: a number keeps its
//! meaning whatever is dropped. Never: changes tests or the fakes that tests use.

mod edits;
mod values;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use quote::ToTokens as _;
use syn::BinOp as Op;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use edits::Edits;

/// Folders and files of fakes and tests, which are not under test.
const FAKES: [&str; 3] = ["fakes", "loopback.rs", "tests"];

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let [tree, list, dropped, rooms @ ..] = &args[..] else {
        panic!("mutants TREE LIST DROPPED ROOM...")
    };
    let tree = PathBuf::from(tree);
    let dropped: BTreeSet<u32> = fs::read_to_string(dropped)
        .unwrap_or_default()
        .split_whitespace()
        .map(|number| number.parse().expect("DROPPED holds numbers"))
        .collect();
    let mut files = Vec::new();
    rooms.iter().for_each(|room| sources(&tree.join(room), &mut files));
    files.sort();
    let (mut next, mut lines) = (1, String::new());
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file");
        let name = file.strip_prefix(&tree).expect("below the tree").display().to_string();
        let parsed = syn::parse_file(&text).expect("a tree that compiles");
        let mut pass = Pass {
            text: &text,
            name,
            next,
            dropped: &dropped,
            lines: &mut lines,
            within: Vec::new(),
            edits: Edits::default(),
        };
        pass.visit_file(&parsed);
        next = pass.next;
        fs::write(&file, pass.edits.apply(&text)).expect("the tree can be written");
    }
    fs::write(list, lines).expect("LIST can be written");
    println!("{} mutants, {} of them left out", next - 1, dropped.len());
}

fn sources(at: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(at).expect("a directory").flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if FAKES.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            sources(&path, into);
        } else if name.ends_with(".rs") && !name.ends_with("_tests.rs") {
            into.push(path);
        }
    }
}

struct Pass<'a> {
    text: &'a str,
    name: String,
    next: u32,
    dropped: &'a BTreeSet<u32>,
    lines: &'a mut String,
    within: Vec<String>,
    edits: Edits,
}

impl Pass<'_> {
    /// The number of a mutant, if it is to be written in.
    fn mutant(&mut self, at: proc_macro2::Span, what: &str) -> Option<u32> {
        let number = self.next;
        self.next += 1;
        if self.dropped.contains(&number) {
            return None;
        }
        let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
        let (file, within, place) = (&self.name, self.within.join("::"), at.start());
        let place = format!("{}:{}", place.line, place.column + 1);
        writeln!(self.lines, "{number}\t{file}\t{place}\t{within}\t{what}")
            .expect("a string takes all");
        Some(number)
    }

    fn text_of(&self, node: &impl Spanned) -> String {
        self.text[node.span().byte_range()].to_owned()
    }

    /// The body, and before it a return of each other value that its type may have.
    fn function(&mut self, sig: &syn::Signature, block: &syn::Block) {
        if sig.constness.is_some() {
            return;
        }
        self.within.push(sig.ident.to_string());
        let whole = self.text_of(block);
        let whole = whole.trim_matches(['{', '}', ' ', '\n']);
        let mut returns = String::new();
        for value in values::of(&sig.output) {
            if whole.is_empty() || whole == value {
                continue;
            }
            if let Some(n) = self.mutant(sig.ident.span(), &format!("body -> {value}")) {
                returns += &format!(" if crate::mutant::on({n}) {{ return {value}; }} ");
            }
        }
        self.edits.open(block.brace_token.span.open().byte_range().end, returns);
        self.visit_block(block);
        self.within.pop();
    }

    /// An operator becomes each of some others. The operands are evaluated once, in their order.
    fn operator(&mut self, e: &syn::ExprBinary, others: &[&str], reference: bool) {
        let (op, whole) = (self.text_of(&e.op), self.text_of(e));
        let mut arms = String::new();
        for other in others {
            if let Some(n) = self.mutant(e.op.span(), &format!("{op} -> {other} in {whole}")) {
                arms += &format!("if crate::mutant::on({n}) {{ __l {other} __r }} else ");
            }
        }
        if arms.is_empty() {
            return;
        }
        let (before, between) =
            if reference { ("(match (&(", "), &(") } else { ("(match (", ", ") };
        let close = if reference { ")" } else { "" };
        let after = format!("{close}) {{ (__l, __r) => {arms} {{ __l {op} __r }} }})");
        self.edits.around_two(e, before, between, &after);
    }

    /// `l && r` is `if l == true { r } else { l }`, and `l || r` the same with false.
    fn junction(&mut self, e: &syn::ExprBinary, is_and: bool) {
        if has_let(&e.left) || has_let(&e.right) {
            return;
        }
        let (op, other, sign) = if is_and { ("&&", "||", "!=") } else { ("||", "&&", "==") };
        let what = format!("{op} -> {other} in {}", self.text_of(e));
        if let Some(n) = self.mutant(e.op.span(), &what) {
            let between = format!("; if __l {sign} crate::mutant::on({n}) {{ ");
            self.edits.around_two(e, "({ let __l: bool = ", &between, " } else { __l } })");
        }
    }

    /// `a += b` with other operators. What is assigned to is written out again for each.
    fn assignment(&mut self, e: &syn::ExprBinary, others: &[&str]) {
        let (op, left, whole) = (self.text_of(&e.op), self.text_of(&*e.left), self.text_of(e));
        let mut arms = String::new();
        for other in others {
            if let Some(n) = self.mutant(e.op.span(), &format!("{op} -> {other} in {whole}")) {
                arms += &format!("if crate::mutant::on({n}) {{ {left} {other} __r }} else ");
            }
        }
        if !arms.is_empty() {
            let (l, r) = (e.left.span().byte_range(), e.right.span().byte_range());
            self.edits.swap(l.start, r.start, "(match ".to_owned());
            self.edits.close(r.end, format!(" {{ __r => {arms} {{ {left} {op} __r }} }})"));
        }
        self.visit_expr(&e.right);
    }

    fn guard(&mut self, guard: &syn::Expr) {
        if has_let(guard) {
            return;
        }
        let text = self.text_of(guard);
        let yes = self.mutant(guard.span(), &format!("guard {text} -> true"));
        let no = self.mutant(guard.span(), &format!("guard {text} -> false"));
        let or = yes.map(|n| format!("crate::mutant::on({n}) || ")).unwrap_or_default();
        let and = no.map(|n| format!(" && !crate::mutant::on({n})")).unwrap_or_default();
        self.edits.open(guard.span().byte_range().start, format!("({or}("));
        self.edits.close(guard.span().byte_range().end, format!(")){and}"));
    }
}

fn for_tests(attrs: &[syn::Attribute]) -> bool {
    attrs.iter().any(|attr| {
        let is_test = attr.to_token_stream().to_string().contains("test");
        attr.path().is_ident("test") || (attr.path().is_ident("cfg") && is_test)
    })
}

fn has_let(e: &syn::Expr) -> bool {
    match e {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(b) => has_let(&b.left) || has_let(&b.right),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Pass<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        match item {
            syn::Item::Mod(m) if for_tests(&m.attrs) => {}
            syn::Item::Fn(f) if for_tests(&f.attrs) => {}
            syn::Item::Impl(i) if for_tests(&i.attrs) => {}
            syn::Item::Const(_) | syn::Item::Static(_) => {}
            other => visit::visit_item(self, other),
        }
    }

    fn visit_item_fn(&mut self, f: &'ast syn::ItemFn) {
        self.function(&f.sig, &f.block);
    }

    fn visit_item_impl(&mut self, i: &'ast syn::ItemImpl) {
        let of = i.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
        if of.is_some_and(|of| of.ident == "Debug" || of.ident == "Display") {
            return;
        }
        self.within.push(i.self_ty.to_token_stream().to_string().replace(' ', ""));
        visit::visit_item_impl(self, i);
        self.within.pop();
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        if let syn::ImplItem::Fn(f) = item
            && !for_tests(&f.attrs)
        {
            self.function(&f.sig, &f.block);
        }
    }

    fn visit_trait_item_fn(&mut self, f: &'ast syn::TraitItemFn) {
        if let Some(block) = &f.default {
            self.function(&f.sig, block);
        }
    }

    fn visit_type(&mut self, _: &'ast syn::Type) {}
    fn visit_pat(&mut self, _: &'ast syn::Pat) {}
    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}

    fn visit_expr_repeat(&mut self, e: &'ast syn::ExprRepeat) {
        self.visit_expr(&e.expr);
    }

    /// A statement made for its effect alone is left out.
    fn visit_stmt(&mut self, s: &'ast syn::Stmt) {
        use syn::Expr::{Assign, Call, MethodCall, Try};
        if let syn::Stmt::Expr(e @ (MethodCall(_) | Call(_) | Try(_) | Assign(_)), Some(semi)) = s {
            let what = format!("left out: {}", self.text_of(e));
            if let Some(n) = self.mutant(e.span(), &what) {
                let start = e.span().byte_range().start;
                self.edits.open(start, format!("if !crate::mutant::on({n}) {{ "));
                self.edits.close(semi.span().byte_range().end, " }".to_owned());
            }
        }
        visit::visit_stmt(self, s);
    }

    fn visit_expr_match(&mut self, m: &'ast syn::ExprMatch) {
        let any = |arm: &syn::Arm| matches!(arm.pat, syn::Pat::Wild(_)) && arm.guard.is_none();
        let last = m.arms.iter().rposition(any);
        for (at, arm) in m.arms.iter().enumerate() {
            if let Some((_, guard)) = &arm.guard {
                self.guard(guard);
            } else if last.is_some_and(|last| last != at) {
                let what = format!("arm {} left out", self.text_of(&arm.pat));
                if let Some(n) = self.mutant(arm.pat.span(), &what) {
                    let guard = format!(" if !crate::mutant::on({n})");
                    self.edits.close(arm.pat.span().byte_range().end, guard);
                }
            }
        }
        visit::visit_expr_match(self, m);
    }

    fn visit_expr_binary(&mut self, e: &'ast syn::ExprBinary) {
        match e.op {
            Op::Eq(_) => self.operator(e, &["!="], true),
            Op::Ne(_) => self.operator(e, &["=="], true),
            Op::Lt(_) => self.operator(e, &["==", ">", "<="], true),
            Op::Gt(_) => self.operator(e, &["==", "<", ">="], true),
            Op::Le(_) => self.operator(e, &[">", "<"], true),
            Op::Ge(_) => self.operator(e, &["<", ">"], true),
            Op::Add(_) => self.operator(e, &["-", "*"], false),
            Op::Sub(_) => self.operator(e, &["+", "/"], false),
            Op::Mul(_) => self.operator(e, &["+", "/"], false),
            Op::Div(_) => self.operator(e, &["%", "*"], false),
            Op::Rem(_) => self.operator(e, &["/", "+"], false),
            Op::BitAnd(_) => self.operator(e, &["|", "^"], false),
            Op::BitOr(_) => self.operator(e, &["&", "^"], false),
            Op::BitXor(_) => self.operator(e, &["|", "&"], false),
            Op::Shl(_) => self.operator(e, &[">>"], false),
            Op::Shr(_) => self.operator(e, &["<<"], false),
            Op::And(_) => self.junction(e, true),
            Op::Or(_) => self.junction(e, false),
            Op::AddAssign(_) => return self.assignment(e, &["-=", "*="]),
            Op::SubAssign(_) => return self.assignment(e, &["+=", "/="]),
            Op::MulAssign(_) => return self.assignment(e, &["+=", "/="]),
            Op::BitOrAssign(_) => return self.assignment(e, &["&="]),
            Op::BitAndAssign(_) => return self.assignment(e, &["|="]),
            _ => {}
        }
        visit::visit_expr_binary(self, e);
    }

    fn visit_expr_unary(&mut self, e: &'ast syn::ExprUnary) {
        let range = e.span().byte_range();
        if let syn::UnOp::Not(_) = e.op {
            let what = format!("! left out in {}", self.text_of(e));
            if let Some(n) = self.mutant(e.span(), &what) {
                self.edits.open(range.start, "((".to_owned());
                self.edits.close(range.end, format!(") ^ crate::mutant::on({n}))"));
            }
        }
        visit::visit_expr_unary(self, e);
    }
}

//! What a function might return instead, guessed by the name of its type. What does not compile is left
//! out later.

pub fn of(output: &syn::ReturnType) -> Vec<String> {
    match output {
        syn::ReturnType::Default => vec!["()".to_owned()],
        syn::ReturnType::Type(_, ty) => of_type(ty),
    }
}

fn of_type(ty: &syn::Type) -> Vec<String> {
    let values: &[&str] = match ty {
        syn::Type::Tuple(t) if t.elems.is_empty() => &["()"],
        syn::Type::Tuple(_) => &["Default::default()"],
        syn::Type::Reference(r) => match &*r.elem {
            syn::Type::Path(p) if p.path.is_ident("str") => &["\"\"", "\"xyzzy\""],
            syn::Type::Slice(_) => &["&[]"],
            _ => &[],
        },
        syn::Type::Path(p) => return of_path(p),
        _ => &[],
    };
    owned(values)
}

fn of_path(p: &syn::TypePath) -> Vec<String> {
    let last = p.path.segments.last().expect("a path has a name");
    let of_inner = |with: &str| {
        let syn::PathArguments::AngleBracketed(args) = &last.arguments else { return Vec::new() };
        let Some(syn::GenericArgument::Type(inner)) = args.args.first() else { return Vec::new() };
        of_type(inner).into_iter().map(|value| format!("{with}({value})")).collect::<Vec<_>>()
    };
    match last.ident.to_string().as_str() {
        "bool" => owned(&["true", "false"]),
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => owned(&["0", "1"]),
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => owned(&["0", "1", "-1"]),
        "f32" | "f64" => owned(&["0.0", "1.0"]),
        "String" => owned(&["String::new()", "\"xyzzy\".into()"]),
        "Option" => [owned(&["None"]), of_inner("Some")].concat(),
        "Result" => of_inner("Ok"),
        "Vec" => owned(&["Vec::new()"]),
        _ => owned(&["Default::default()"]),
    }
}

fn owned(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

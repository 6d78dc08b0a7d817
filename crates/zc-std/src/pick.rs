//! What `copy!` is made of: the compiler picks the kernel's path where a type has opted in.
//!
//! Rust looks for a method by value before it looks by reference. Only opted-in types have the method of
//! `Side<R>`; all have the one of the same name of `&Side<R>`, and the first wins. That is specialisation on
//! stable Rust, for types that the call names.

#![allow(missing_docs)] // Public for the macro alone.

use std::io::{Read, Write};
use std::marker::PhantomData;

use crate::{Opaque, Sink, Source};

/// Says what is missing of an argument, before the rest of the macro does.
pub fn reader<R: Read + ?Sized>(reader: &mut R) -> &mut R {
    reader
}

pub fn writer<W: Write + ?Sized>(writer: &mut W) -> &mut W {
    writer
}

#[derive(Debug)]
pub struct Side<T: ?Sized>(PhantomData<fn(&T)>);

impl<T: ?Sized> Side<T> {
    pub fn of(_: &T) -> Self {
        Side(PhantomData)
    }
}

/// It has opted in.
#[derive(Clone, Copy, Debug)]
pub struct AsItIs;

/// It has not.
#[derive(Clone, Copy, Debug)]
pub struct Wrapped;

impl AsItIs {
    pub fn wrap<T: ?Sized>(self, inner: &mut T) -> &mut T {
        inner
    }
}

impl Wrapped {
    pub fn wrap<T: ?Sized>(self, inner: &mut T) -> Opaque<&mut T> {
        Opaque(inner)
    }
}

pub trait OptedInSource {
    fn source(&self) -> AsItIs {
        AsItIs
    }
}

pub trait PlainSource {
    fn source(&self) -> Wrapped {
        Wrapped
    }
}

pub trait OptedInSink {
    fn sink(&self) -> AsItIs {
        AsItIs
    }
}

pub trait PlainSink {
    fn sink(&self) -> Wrapped {
        Wrapped
    }
}

impl<R: Read + Source + ?Sized> OptedInSource for Side<R> {}
impl<R: Read + ?Sized> PlainSource for &Side<R> {}
impl<W: Write + Sink + ?Sized> OptedInSink for Side<W> {}
impl<W: Write + ?Sized> PlainSink for &Side<W> {}

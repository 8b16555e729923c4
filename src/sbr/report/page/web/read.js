// What stands in the page -> data.  Names of fields: report/page/data.py.

const { h, render, Fragment } = preact;
const { useState, useEffect, useLayoutEffect, useMemo, useRef } = preactHooks;
const html = htm.bind(h);

/** base64 -> bytes. */
function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** A block that render.py packed (gzip, base64) -> its value. */
async function unpack(element) {
  const stream = new Blob([bytesOf(element.textContent.trim())]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

/** Control characters as their pictures, halves of characters as U+FFFD; as many UTF-16 units as before. */
function visible(text) {
  return text
    .replace(/[\u0000-\u0008\u000b-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)))
    .replace(/\u007f/g, "\u2421")
    .replace(/[\u0080-\u009f]|\p{Surrogate}/gu, "\ufffd");
}

/** Positions count code points (as Python does) -> a function that gives the UTF-16 unit of a position in `text`. */
function unitAt(text) {
  if (!/[\ud800-\udfff]/.test(text)) return (position) => position;
  const units = [0];
  for (const character of text) units.push(units[units.length - 1] + character.length);
  return (position) => units[Math.min(position, units.length - 1)];
}

const parts = new Map();
const KEPT = 24;

/** The picture and the maps of case number `index`: {url, maps}; the last few are kept. */
function partsOf(index) {
  if (!parts.has(index)) {
    parts.set(index, readParts(index));
    if (parts.size > KEPT) {
      const [oldest, gone] = parts.entries().next().value;
      parts.delete(oldest);
      gone.then(({ url }) => url && URL.revokeObjectURL(url));
    }
  } else {
    const kept = parts.get(index);
    parts.delete(index);
    parts.set(index, kept);
  }
  return parts.get(index);
}

async function readParts(index) {
  const sprite = document.getElementById(`sprite-${index}`)?.textContent.trim();
  const packed = document.getElementById(`maps-${index}`);
  let url = null;
  if (sprite) {
    const [, type, base64] = /^data:([^;]+);base64,(.*)$/.exec(sprite);
    url = URL.createObjectURL(new Blob([bytesOf(base64)], { type }));
  }
  return { url, maps: packed ? (await unpack(packed)).map((map) => map && readMap(map)) : [] };
}

/** Maps of one answer with their bytes as arrays: `raw` N x V and `general` V, both 0 to 255. */
function readMap(map) {
  const raw = bytesOf(map.raw);
  const general = bytesOf(map.general);
  return { ...map, raw, general, size: map.tokens.length ? raw.length / map.tokens.length : general.length };
}

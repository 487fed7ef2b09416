// The frames of `/map.ws`: where announces came from since the last one, little endian.
//
// u8 version (1), u8 flags, u16 count, u32 announces since the last frame; then `count` times
// i16 latitude * 10, i16 longitude * 10, u8 protocol, u8 0, two letters of the country or two 0.

const VERSION = 1;
const HEAD_BYTES = 8;
const POINT_BYTES = 8;

/** The ways in by their number in a frame; also the names of their colours. */
export const WAYS = ["udp-ipv4", "udp-ipv6", "http-ipv4", "http-ipv6"] as const;

export interface Point {
  latitude: number;
  longitude: number;
  /** Index in `WAYS`. */
  way: number;
  /** Two letters (ISO 3166), or nothing where it is not known. */
  country: string;
}

export interface Frame {
  /** Announces since the last frame, of which the points may be a sample. */
  announces: number;
  points: Point[];
}

/** Reads a frame; nothing where it is none that we know. */
export function decode(buffer: ArrayBuffer): Frame | undefined {
  const view = new DataView(buffer);
  if (view.byteLength < HEAD_BYTES || view.getUint8(0) !== VERSION) return undefined;
  const count = view.getUint16(2, true);
  if (view.byteLength !== HEAD_BYTES + count * POINT_BYTES) return undefined;
  const points: Point[] = [];
  for (let at = HEAD_BYTES; at < view.byteLength; at += POINT_BYTES) {
    const [first, second] = [view.getUint8(at + 6), view.getUint8(at + 7)];
    points.push({
      latitude: view.getInt16(at, true) / 10,
      longitude: view.getInt16(at + 2, true) / 10,
      way: Math.min(view.getUint8(at + 4), WAYS.length - 1),
      country: first === 0 ? "" : String.fromCharCode(first, second),
    });
  }
  return { announces: view.getUint32(4, true), points };
}

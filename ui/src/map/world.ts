// The world: Natural Earth's countries, drawn once for each size and theme. Nobody is asked where
// a border is; the outlines are those of the data.
import { geoGraticule, geoNaturalEarth1, geoPath, type GeoPermissibleObjects } from "d3-geo";
import { feature, mesh } from "topojson-client";
import type { GeometryCollection, Topology } from "topojson-specification";
import atlas from "world-atlas/countries-110m.json";

type Atlas = Topology<{ countries: GeometryCollection; land: GeometryCollection }>;
const topology = atlas as unknown as Atlas;
const land = feature(topology, topology.objects.land);
const borders = mesh(topology, topology.objects.countries, (a, b) => a !== b);
const graticule = geoGraticule().step([30, 30])();
const sphere: GeoPermissibleObjects = { type: "Sphere" };

/** What is seen: to the north of Greenland, to the south of Tierra del Fuego. */
const NORTH = 84;
const SOUTH = -57;

export interface World {
  width: number;
  height: number;
  /** Where a place is, in pixels; nothing where it is out of sight. */
  place: (latitude: number, longitude: number) => [number, number] | undefined;
  draw: (context: CanvasRenderingContext2D, colours: Colours) => void;
}

export interface Colours {
  land: string;
  border: string;
  grid: string;
}

/** The world at a width in pixels. */
export function world(width: number): World {
  const projection = geoNaturalEarth1().fitWidth(width, sphere);
  const y = (latitude: number) => projection([0, latitude])?.[1] ?? 0;
  const [x, middle] = projection.translate();
  const height = Math.round(y(SOUTH) - y(NORTH));
  projection.translate([x, middle - y(NORTH)]);

  function place(latitude: number, longitude: number): [number, number] | undefined {
    const at = projection([longitude, latitude]);
    return at && at[1] >= 0 && at[1] <= height ? at : undefined;
  }

  function draw(context: CanvasRenderingContext2D, colours: Colours) {
    const path = geoPath(projection, context);
    const trace = (object: GeoPermissibleObjects) => {
      context.beginPath();
      path(object);
    };
    context.clearRect(0, 0, width, height);
    context.lineWidth = 0.6;
    context.strokeStyle = colours.grid;
    trace(graticule);
    context.stroke();
    context.fillStyle = colours.land;
    trace(land);
    context.fill();
    context.strokeStyle = colours.border;
    trace(borders);
    context.stroke();
  }

  return { width, height, place, draw };
}

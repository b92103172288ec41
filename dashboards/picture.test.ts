import { expect, test } from "vitest";
import { pictureOf } from "./picture.ts";

const picture = (points: readonly (readonly [number, number | null])[], columns = 1) =>
  pictureOf({
    title: "a < b & c",
    columns,
    span: [0, 100],
    note: "",
    marks: [],
    panels: [{ title: "one", lines: [{ name: "line", points }] }],
  });
const linesIn = (svg: string) => [...svg.matchAll(/points="([^"]*)"/g)].map(([, text]) => text);

test("a line goes from the left to the right, and the highest value is at the top", () => {
  const svg = picture([
    [0, 0],
    [50, 10],
    [100, 5],
  ]);
  expect(linesIn(svg)).toEqual(["64.0,190.0 505.0,40.0 946.0,115.0"]);
  expect(svg).toContain("a &lt; b &amp; c");
});

test("where nothing is known there is a gap, and a lone point is a dot", () => {
  const svg = picture([
    [0, null],
    [10, 1],
    [20, 1],
    [30, null],
    [40, NaN],
    [50, 1],
  ]);
  expect(linesIn(svg).map((line) => line!.split(" ").length)).toEqual([2, 2]);
});

test("the highest value is written with its prefix", () => {
  const of = (value: number) => /text-anchor="end"[^>]*>([^<]*)</.exec(picture([[0, value]]))![1];
  expect([0.0435, 7, 1_234, 268_435_456, 5e10].map(of)).toEqual([
    "0.0435",
    "7",
    "1.23 k",
    "268 M",
    "50 G",
  ]);
});

test("a picture of nothing is one, too", () => {
  expect(linesIn(picture([]))).toEqual([]);
  expect(picture([[5, 0]])).not.toContain("NaN");
});

import pg from "pg";

const { INT8, NUMERIC } = pg.types.builtins;

/**
 * Reads bigints and numerics as numbers: amounts, positions and times in ms are at most 2^53 − 1. Their text has all
 * digits in every session; that of a float8 or a timestamp depends on the session's settings, so none is selected.
 */
export const READ_NUMBERS: pg.CustomTypesConfig = {
  getTypeParser: ((type: number, format: "text") =>
    type === INT8 || type === NUMERIC
      ? Number
      : pg.types.getTypeParser(type, format)) as typeof pg.types.getTypeParser,
};

// Unit shapes: {position, normal, index}. Everything else is one of them, stretched.

// A surface of revolution about z: rows of [radius, z, radial normal, z normal].
function revolved(rows, around) {
  const position = [], normal = [], index = [];
  rows.forEach(([r, z, nr, nz], row) => {
    for (let k = 0; k <= around; k++) {
      const turn = (2 * Math.PI * k) / around;
      position.push(r * Math.cos(turn), r * Math.sin(turn), z);
      normal.push(nr * Math.cos(turn), nr * Math.sin(turn), nz);
      if (row && k) {
        const here = row * (around + 1) + k;
        const below = here - around - 1;
        index.push(below - 1, below, here, below - 1, here, here - 1);
      }
    }
  });
  return { position, normal, index };
}

function sphereMesh() {
  const rows = [];
  for (let k = 0; k <= 20; k++) {
    const a = -Math.PI / 2 + (Math.PI * k) / 20;
    rows.push([Math.cos(a), Math.sin(a), Math.cos(a), Math.sin(a)]);
  }
  return revolved(rows, 40);
}

const cylinderMesh = (around) =>
  revolved([[0, -1, 0, -1], [1, -1, 0, -1], [1, -1, 1, 0], [1, 1, 1, 0], [1, 1, 0, 1], [0, 1, 0, 1]], around);

const coneMesh = () => revolved([[0, -1, 0, -1], [1, -1, 0, -1], [1, -1, 0.9, 0.45], [0, 1, 0.9, 0.45]], 16);

function boxMesh() {
  const position = [], normal = [], index = [];
  for (let axis = 0; axis < 3; axis++)
    for (const side of [-1, 1]) {
      const first = position.length / 3;
      for (const [u, v] of [[-1, -1], [1, -1], [1, 1], [-1, 1]]) {
        const p = [0, 0, 0], n = [0, 0, 0];
        p[axis] = n[axis] = side;
        p[(axis + 1) % 3] = u * side;
        p[(axis + 2) % 3] = v;
        position.push(...p);
        normal.push(...n);
      }
      index.push(first, first + 1, first + 2, first, first + 2, first + 3);
    }
  return { position, normal, index };
}

// heights is row after row along x; origin and spacing are of x and y.
function terrainMesh({ heights, columns, origin, spacing }) {
  const rows = heights.length / columns;
  const position = [], normal = [], index = [];
  const at = (i, j) => heights[clamp(j, 0, rows - 1) * columns + clamp(i, 0, columns - 1)];
  for (let j = 0; j < rows; j++)
    for (let i = 0; i < columns; i++) {
      position.push(origin[0] + i * spacing[0], origin[1] + j * spacing[1], at(i, j));
      const dx = (at(i + 1, j) - at(i - 1, j)) / (2 * spacing[0]);
      const dy = (at(i, j + 1) - at(i, j - 1)) / (2 * spacing[1]);
      normal.push(...unit([-dx, -dy, 1]));
      if (i && j) {
        const here = j * columns + i;
        index.push(here - columns - 1, here - columns, here, here - columns - 1, here, here - 1);
      }
    }
  return { position, normal, index };
}

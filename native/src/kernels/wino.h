/* Winograd's F(4x4, 3x3) in the points 0, +-a, +-b and infinity, for a = sqrt(1/2) and b = sqrt(2): they lose half as
 * many digits as 1 and 2 do. With T = (x - a)(x + a)(x - b)(x + b) = x^4 - 2.5 x^2 + 1,
 *
 *          1  0   -2.5  0   1  0           1     0       0              1  1    1   1    1   0
 *          0 -b   -2    a   1  0         -2/3  -2/3 a  -1/3             0  a   -a   b   -b   0
 *   B^T =  0  b   -2   -a   1  0     G = -2/3   2/3 a  -1/3      A^T =  0 1/2  1/2  2    2   0
 *          0 -a   -1/2  b   1  0          1/6   1/6 b   1/3             0 a/2 -a/2  2b  -2b  1
 *          0  a   -1/2 -b   1  0          1/6  -1/6 b   1/3
 *          0  1    0   -2.5 0  1           0     0       1
 */
#ifndef VT_WINO_H
#define VT_WINO_H

#define VT_WINO_A 0.70710678118654752f
#define VT_WINO_B 1.41421356237309505f

#endif

// Package student uses and judges trained networks: features of images, and how well they tell classes apart.
package student

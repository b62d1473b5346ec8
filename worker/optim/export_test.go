package optim

// Power is power, for its test.
var Power = power
